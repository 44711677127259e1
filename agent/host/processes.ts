/** Processes of this host, told apart for good: a pid alone is reused, and means nothing after a reboot. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot, field 22 of `/proc/PID/stat` (proc_pid_stat(5)). */
  readonly startTicks: number;
  /** `/proc/sys/kernel/random/boot_id` of the boot it runs in. */
  readonly bootId: string;
}

export async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/** Who has `pid` now; undefined if nobody has, or only a zombie that waits to be reaped. */
export async function identifyPid(pid: number, bootId: string): Promise<ProcessIdentity | undefined> {
  const stat = await readStat(pid);
  return stat === undefined || stat.state === 'Z' || stat.state === 'X'
    ? undefined
    : { pid, startTicks: stat.startTicks, bootId };
}

/** Whether exactly this process still runs. */
export async function isRunning(identity: ProcessIdentity, bootId: string): Promise<boolean> {
  if (identity.bootId !== bootId) return false;
  return (await identifyPid(identity.pid, bootId))?.startTicks === identity.startTicks;
}

/** Sends a signal to exactly this process; false if it has ended. */
export async function sendSignal(
  identity: ProcessIdentity,
  signal: NodeJS.Signals | number,
  bootId: string,
): Promise<boolean> {
  if (!(await isRunning(identity, bootId))) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

export interface ProcessStat {
  readonly state: string;
  readonly parent: number;
  /** Pid of the process that began the session. */
  readonly session: number;
  readonly startTicks: number;
}

/** The text of `/proc/PID/stat`; the name in parentheses may itself hold blanks and parentheses. */
export function parseStat(text: string): ProcessStat | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  // Fields are counted from 1 in the manual, the first after the name is number 3.
  const [state, parent, , session] = fields;
  const startTicks = fields[22 - 3];
  if (state === undefined || parent === undefined || session === undefined || startTicks === undefined)
    return undefined;
  return { state, parent: Number(parent), session: Number(session), startTicks: Number(startTicks) };
}

/** Every process of every container is asked for several times a second: the kernel answers from memory, no other thread is needed. */
export function readStat(pid: number): Promise<ProcessStat | undefined> {
  try {
    return Promise.resolve(parseStat(readFileSync(`/proc/${String(pid)}/stat`, 'utf8')));
  } catch {
    return Promise.resolve(undefined);
  }
}

/** The command line of a process; empty if it has none or is gone. */
export async function readCommandLine(pid: number): Promise<readonly string[]> {
  try {
    const text = await readFile(`/proc/${String(pid)}/cmdline`, 'utf8');
    return text.split('\0').slice(0, -1);
  } catch {
    return [];
  }
}
