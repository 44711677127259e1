/** Launches conmon, the small monitor that holds a container's output and exit code and outlives the agent. */
import { spawn, type ChildProcess } from 'node:child_process';
import { open, readFile, readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { FrotaError, describeError } from '../../../proto/base/errors.ts';
import { readCommandLine } from '../../host/processes.ts';
import type { ContainerFolders } from './folders.ts';

export interface ConmonLaunch {
  readonly id: string;
  /** Programs by their paths. */
  readonly conmon: string;
  readonly runtime: string;
  readonly runtimeRoot: string;
  readonly folders: ContainerFolders;
  readonly exits: string;
  /** Puts conmon where it shall live before it starts anything. */
  readonly place: (pid: number) => Promise<void>;
  /** `LogLimits.unattendedBytes` */
  readonly unattendedLogBytes: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** The error text of a runtime is a line or two; more is noise. */
const maxReplyBytes = 64 * 1024;

/**
 * Starts conmon, which makes the container (`RUNTIME create`) and goes to the background. Returns the process ids.
 * Throws `invalid` with the runtime's own words when it refuses, `deadline` and `cancelled`; conmon may then still
 * run: the caller sweeps.
 */
export async function launchConmon(
  launch: ConmonLaunch,
): Promise<{ readonly pid: number; readonly conmonPid: number }> {
  if (launch.signal.aborted) throw new FrotaError('cancelled', `container ${launch.id}: cancelled while it was made`);
  const { folders } = launch;
  // A file, not a pipe: conmon goes on writing when the agent is gone.
  const log = await open(folders.conmonLog, 'a');
  let child: ChildProcess;
  try {
    child = spawn(launch.conmon, conmonArguments(launch), {
      cwd: folders.folder,
      detached: true,
      env: { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin', _OCI_SYNCPIPE: '3', _OCI_STARTPIPE: '4' },
      stdio: ['ignore', 'ignore', log.fd, 'pipe', 'pipe'],
    });
  } finally {
    await log.close();
  }
  const reply = readReply(child, launch);
  // It may fail while conmon is still being placed; it is awaited, and fails, below.
  reply.catch(() => undefined);
  const inBackground = new Promise((resolve) => child.once('exit', resolve));
  try {
    const starter = child.stdio[4] as Writable | null | undefined;
    starter?.on('error', () => undefined);
    if (child.pid !== undefined) await place(child.pid, launch);
    starter?.end('\n');
    const pid = parseReply(await reply, await readFile(folders.conmonLog, 'utf8'));
    // What was spawned ends once it has forked the monitor and written its pid.
    await inBackground;
    const conmonPid = Number(await readFile(folders.conmonPidFile, 'utf8'));
    return { pid, conmonPid };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

async function place(pid: number, launch: ConmonLaunch): Promise<void> {
  try {
    await launch.place(pid);
  } catch (error) {
    const log = (await readFile(launch.folders.conmonLog, 'utf8')).trim();
    const words = log === '' ? describeError(error) : log;
    throw new FrotaError('unavailable', `conmon ended before it could be moved to its cgroup: ${words}`, {
      cause: error,
    });
  }
}

function conmonArguments(launch: ConmonLaunch): readonly string[] {
  const { id, folders } = launch;
  return [
    ...['--api-version', '1', '-c', id, '-u', id, '-n', id],
    ...['-r', launch.runtime, '-b', folders.bundle, '-p', folders.pidFile, '-P', folders.conmonPidFile],
    ...['--exit-dir', launch.exits, '--persist-dir', folders.persist, '--full-attach'],
    ...['-l', `k8s-file:${folders.log}`, '--log-size-max', String(launch.unattendedLogBytes), '--log-level', 'warning'],
    ...['--runtime-arg', `--root=${launch.runtimeRoot}`],
  ];
}

/** The first line on the synchronisation pipe; empty if conmon ended without one. */
async function readReply(child: ChildProcess, launch: ConmonLaunch): Promise<string> {
  const pipe = child.stdio[3] as Readable;
  const shown = `container ${launch.id}`;
  return new Promise<string>((resolve, reject) => {
    let text = '';
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      launch.signal.removeEventListener('abort', onAbort);
      pipe.destroy();
      act();
    };
    const fail = (error: FrotaError): void => {
      settle(() => {
        reject(error);
      });
    };
    const finish = (): void => {
      settle(() => {
        resolve(text);
      });
    };
    const onAbort = (): void => {
      fail(new FrotaError('cancelled', `${shown}: cancelled while it was made`));
    };
    const timer = setTimeout(() => {
      fail(new FrotaError('deadline', `${shown}: not made after ${String(launch.timeoutMs)} ms`));
    }, launch.timeoutMs);
    launch.signal.addEventListener('abort', onAbort, { once: true });
    child.on('error', (error) => {
      fail(new FrotaError('unavailable', `conmon could not be started: ${error.message}`, { cause: error }));
    });
    pipe.on('error', finish);
    pipe.on('end', finish);
    pipe.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      if (text.includes('\n') || text.length > maxReplyBytes) finish();
    });
  });
}

/** PURE: conmon's answer (`{"data": PID}`, or -1 and the runtime's words) → the container's pid. */
export function parseReply(text: string, conmonLog: string): number {
  let reply: { data?: unknown; pid?: unknown; message?: unknown } = {};
  try {
    reply = JSON.parse(text.split('\n')[0] ?? '') as typeof reply;
  } catch {
    throw new FrotaError('unavailable', `conmon ended without making the container: ${conmonLog.trim() || 'no word'}`);
  }
  const pid = Number(reply.data ?? reply.pid ?? -1);
  if (pid > 0) return pid;
  const message = typeof reply.message === 'string' ? reply.message.trim() : '';
  throw new FrotaError('invalid', message === '' ? conmonLog.trim() : message);
}

/** conmon and its runtime name the bundle on their command lines. */
const launchedPrograms = new Set(['conmon', 'runc', 'crun']);

/** Processes of conmon or a runtime that work on this bundle: what a crash in the midst of a launch left behind. */
export async function findBundleProcesses(bundle: string): Promise<readonly number[]> {
  const pids: number[] = [];
  for (const name of await readdir('/proc')) {
    const pid = Number(name);
    if (!(pid > 0)) continue;
    const [program = '', ...rest] = await readCommandLine(pid);
    if (launchedPrograms.has(basename(program)) && rest.includes(bundle)) pids.push(pid);
  }
  return pids;
}
