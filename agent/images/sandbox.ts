/** Programs that read what strangers made run in here: no network, no other files, no capabilities but the ones named. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { FrotaError } from '../../proto/base/errors.ts';

/** Where the programs are; a name is looked up in PATH. */
export interface ImagePrograms {
  readonly bwrap: string;
  readonly tar: string;
  readonly igzip: string;
  readonly zstd: string;
  readonly sync: string;
}

export const defaultPrograms: ImagePrograms = {
  bwrap: 'bwrap',
  tar: 'tar',
  igzip: 'igzip',
  zstd: 'zstd',
  sync: 'sync',
};

/** The Debian package of each program, for messages. */
const debianPackages: Readonly<Record<keyof ImagePrograms, string>> = {
  bwrap: 'bubblewrap',
  tar: 'tar',
  igzip: 'isal',
  zstd: 'zstd',
  sync: 'coreutils',
};

export interface SandboxedCall {
  readonly program: keyof ImagePrograms;
  readonly args: readonly string[];
  /** Written to by the program, as `/out`. */
  readonly writableDir?: string;
  readonly capabilities?: readonly string[];
  /** A file descriptor to read from, or `pipe`. */
  readonly stdin: number | 'pipe';
}

export interface SandboxedChild {
  readonly child: ChildProcess;
  /** Present if the call said `pipe`. */
  readonly stdin: Writable | null;
  readonly stdout: Readable;
  /** Resolves when the program has ended and its pipes are closed; rejects only when it could not be started. */
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;
  /** SIGKILL to the sandbox and what it has started. No error if it has ended. */
  kill(): void;
}

/** tar names every file it could not write; the first ones are enough, and memory is bounded. */
const maxStderrBytes = 16 * 1024;

/** Starts the program; it dies with this process, and with `kill`. */
export function startSandboxed(programs: ImagePrograms, call: SandboxedCall): SandboxedChild {
  const child = spawn(programs.bwrap, [...sandboxArgs(call), programs[call.program], ...call.args], {
    stdio: [call.stdin, 'pipe', 'pipe'],
    env: { PATH: process.env.PATH },
    // A process group of its own, see `killGroup`.
    detached: true,
  });
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new FrotaError('internal', 'a child without pipes');
  let errors = '';
  stderr.setEncoding('utf8').on('data', (text: string) => {
    if (errors.length < maxStderrBytes) errors += text;
  });
  // A broken pipe is told by the exit code; without listeners it would end the agent.
  for (const stream of [child.stdin, stdout, stderr]) stream?.on('error', () => undefined);
  const ended = new Promise<{ code: number | null; stderr: string }>((resolve, reject) => {
    child.on('error', (error) => {
      reject(new FrotaError('unsupported', cannotStart(programs, error), { cause: error }));
    });
    child.on('close', (code) => {
      resolve({ code, stderr: errors });
    });
  });
  // Whoever waits later still gets the rejection.
  ended.catch(() => undefined);
  return {
    child,
    stdin: child.stdin,
    stdout,
    ended,
    kill: () => {
      killGroup(child);
    },
  };
}

/**
 * bwrap's second process waits for the first before it asks to die with it. Killed in that moment, the first alone would
 * leave the second waiting for ever, with our pipes in its hands; the group has both.
 */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}

/** The sandbox's own failures, e.g. that the program is not there, begin so. */
export const sandboxFailed = (stderr: string): boolean => stderr.startsWith('bwrap: ');

export function missingProgram(program: keyof ImagePrograms, stderr: string): FrotaError {
  return new FrotaError(
    'unsupported',
    `${program} can't be run in its sandbox: ${stderr.trim()}; is the Debian package ${debianPackages[program]} installed?`,
  );
}

function sandboxArgs(call: SandboxedCall): readonly string[] {
  const systemFolders = ['/bin', '/sbin', '/lib', '/lib64'];
  return [
    '--ro-bind',
    '/usr',
    '/usr',
    ...systemFolders.flatMap((folder) => ['--ro-bind-try', folder, folder]),
    ...(call.writableDir === undefined ? [] : ['--bind', call.writableDir, '/out']),
    '--unshare-net',
    '--unshare-pid',
    '--unshare-ipc',
    '--unshare-uts',
    '--die-with-parent',
    '--new-session',
    '--chdir',
    '/',
    '--clearenv',
    '--setenv',
    'PATH',
    '/usr/bin:/bin:/usr/sbin:/sbin',
    // File names are bytes, most of them UTF-8; messages stay in English.
    '--setenv',
    'LC_ALL',
    'C.UTF-8',
    '--cap-drop',
    'ALL',
    ...(call.capabilities ?? []).flatMap((capability) => ['--cap-add', capability]),
    '--',
  ];
}

function cannotStart(programs: ImagePrograms, error: NodeJS.ErrnoException): string {
  if (error.code !== 'ENOENT') return `${programs.bwrap} could not be started: ${error.message}`;
  return `${programs.bwrap} is missing; run: apt-get install ${debianPackages.bwrap}`;
}
