/** Which process is which: a pid alone may be another's by now, so boot id and start time go with it. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { FrotaError } from '../../proto/base/errors.ts';

export interface PidRecord {
  readonly bootId: string;
  readonly pid: number;
  /** Clock ticks since boot (proc_pid_stat(5), field 22). */
  readonly startTicks: string;
}

const pollMs = 20;
const bootIdFile = '/proc/sys/kernel/random/boot_id';
/** The same for as long as this process can live. */
const currentBootId = readText(bootIdFile)?.trim();

/**
 * Shell text that writes the record of the shell itself to the file `$1`, before it becomes the program by `exec`: so there
 * is no instant at which a program runs and nobody has written down which it is.
 */
export const writeRecordScript = [
  'IFS= read -r stat < /proc/$$/stat',
  `IFS= read -r boot < ${bootIdFile}`,
  'printf "%s\\n%s\\n" "$boot" "$stat" > "$1.new"',
  'mv "$1.new" "$1"',
].join(' && ');

/** Undefined when there is none or it is damaged. */
export function readPidRecord(file: string): PidRecord | undefined {
  const [bootId, stat] = (readText(file) ?? '').split('\n');
  if (bootId === undefined || stat === undefined) return undefined;
  const fields = parseStat(stat);
  return fields === undefined ? undefined : { bootId, pid: Number(stat.split(' ')[0]), startTicks: fields.startTicks };
}

export function isAlive(record: PidRecord | undefined): record is PidRecord {
  if (record === undefined || record.bootId !== currentBootId) return false;
  const fields = parseStat(readText(`/proc/${record.pid}/stat`) ?? '');
  // A zombie has ended; only its parent has not looked yet.
  return fields?.startTicks === record.startTicks && fields.state !== 'Z' && fields.state !== 'X';
}

/** The command name in parentheses may itself hold spaces and parentheses, so fields are counted from the last one. */
function parseStat(stat: string): { readonly state: string; readonly startTicks: string } | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const startTicks = fields[19];
  return state === undefined || startTicks === undefined ? undefined : { state, startTicks };
}

/** Synchronous on purpose: files of /proc are memory, and the supervisor reads a few of them ten times a second. */
function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** SIGTERM, then SIGKILL after `graceMs`. No error if it is not there. @throws FrotaError `unavailable` */
export async function stopRecorded(record: PidRecord | undefined, graceMs: number): Promise<void> {
  if (!isAlive(record)) return;
  send(record, 'SIGTERM');
  if (await endsWithin(record, graceMs)) return;
  send(record, 'SIGKILL');
  if (await endsWithin(record, 5_000)) return;
  throw new FrotaError('unavailable', `process ${record.pid} does not end by SIGKILL`);
}

async function endsWithin(record: PidRecord, limitMs: number): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < limitMs; waitedMs += pollMs) {
    if (!isAlive(record)) return true;
    await delay(pollMs);
  }
  return !isAlive(record);
}

function send(record: PidRecord, signal: NodeJS.Signals): void {
  try {
    process.kill(record.pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}
