/** Launches conmon, the small monitor that holds a container's output and exit code and outlives the agent. */
import { readFile, readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { FrotaError } from '../../../proto/base/errors.ts';
import { readCommandLine } from '../../host/processes.ts';
import { run } from '../../host/programs.ts';
import type { ContainerFolders } from './folders.ts';

export interface ConmonLaunch {
  readonly id: string;
  /** Programs by their paths. */
  readonly conmon: string;
  readonly runtime: string;
  readonly runtimeRoot: string;
  readonly folders: ContainerFolders;
  readonly exits: string;
  /** `cgroup.procs` of the cgroup where conmon shall live, one in every hierarchy. */
  readonly cgroupFiles: readonly string[];
  /** `LogLimits.unattendedBytes` */
  readonly unattendedLogBytes: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Where programs are found when the agent itself was started without a PATH. */
const defaultPath = '/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The shell that starts conmon goes to its cgroup first, as the monitor will never leave the one it was born in; `read` returns at
 * the first line on the synchronisation pipe, that is when the container is made or the runtime has refused. The signals that a
 * shell ignores for what it runs in the background would stay ignored in the container. Arguments: the log, PATH, the cgroups'
 * files, `--`, and conmon with its own.
 */
const launchScript = `
log=$1 path=$2; shift 2
{
  while [ "$1" != -- ]; do echo 0 2>>"$log" >"$1" || exit; shift; done; shift
  exec env -i --default-signal=INT,QUIT PATH="$path" _OCI_SYNCPIPE=3 "$@" 3>&1 >/dev/null 2>>"$log"
} 2>>"$log" | { read -r reply || :; printf '%s\\n' "$reply"; }
`;

/**
 * Starts conmon, which makes the container (`RUNTIME create`) and goes to the background. Returns the process ids.
 * Throws `invalid` with the runtime's own words when it refuses, `deadline` and `cancelled`; conmon may then still
 * run: the caller sweeps.
 */
export async function launchConmon(
  launch: ConmonLaunch,
): Promise<{ readonly pid: number; readonly conmonPid: number }> {
  const { folders, signal, timeoutMs } = launch;
  const path = process.env.PATH ?? defaultPath;
  const words = [folders.conmonLog, path, ...launch.cgroupFiles, '--', launch.conmon, ...conmonArguments(launch)];
  const { stdout } = await run('sh', ['-c', launchScript, 'launch', ...words], {
    cwd: folders.folder,
    timeoutMs,
    signal,
  }).catch((error: unknown) => {
    const { code, message } = FrotaError.from(error, 'unavailable');
    if (code === 'deadline') throw new FrotaError(code, `container ${launch.id}: not made after ${String(timeoutMs)} ms`); // prettier-ignore
    if (code === 'cancelled') throw new FrotaError(code, `container ${launch.id}: cancelled while it was made`);
    throw new FrotaError(code, `conmon could not be started: ${message}`, { cause: error });
  });
  // It is there from the first word of conmon on; a reply without anything to read beside it is a reply too.
  const log = await readFile(folders.conmonLog, 'utf8').catch(() => '');
  const pid = parseReply(stdout, log);
  return { pid, conmonPid: Number(await readFile(folders.conmonPidFile, 'utf8')) };
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
