/** The one place where the agent calls other programs: every call has a deadline, a bound on output and a clear error. */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';

export interface RunOptions {
  /** Written to standard input, which is then closed; without it standard input is empty. */
  readonly input?: string | Uint8Array;
  /** SIGKILL and a `deadline` error after this long; default `defaultTimeoutMs`. */
  readonly timeoutMs?: number;
  /** SIGKILL and a `cancelled` error when aborted. */
  readonly signal?: AbortSignal;
  readonly cwd?: string;
  /** The whole environment; default: the agent's own. */
  readonly env?: NodeJS.ProcessEnv;
  /** More output than this, on either stream, kills the program with an `exhausted` error. */
  readonly maxOutputBytes?: number;
  /** Exit codes that are returned instead of thrown; default `[0]`. */
  readonly allowedCodes?: readonly number[];
}

export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

/** No program the agent calls takes this long on a healthy host; one that hangs must not hang the agent. */
export const defaultTimeoutMs = 30_000;
/** Listings of a busy node stay far below; a program gone wild must not fill the agent's memory. */
export const defaultMaxOutputBytes = 16 * 1024 * 1024;
/** From SIGKILL to giving the program up. */
const killGraceMs = 1_000;
/** The last lines carry the reason; more would hide it. */
const errorLines = 5;
/** `argv` in error messages is cut here: people need the verb, not a page. */
const maxShownArgs = 160;

/** Debian package of each program the agent may call; the key is the program's name. */
export const debianPackages: Readonly<Record<string, string>> = {
  runc: 'runc',
  crun: 'crun',
  conmon: 'conmon',
  nft: 'nftables',
  ip: 'iproute2',
  bridge: 'iproute2',
  tc: 'iproute2',
  nsenter: 'util-linux',
  bwrap: 'bubblewrap',
  tar: 'tar',
  igzip: 'isal',
  zstd: 'zstd',
  conntrack: 'conntrack',
  mount: 'mount',
  umount: 'mount',
  sysctl: 'procps',
};

/**
 * Runs `program` (a name searched in PATH, or a path) and waits for its end.
 *
 * Errors (FrotaError): `unsupported` when the program is missing, naming the Debian package; `unavailable` when it
 * ended with a code that is not allowed or by a signal, with its last lines of standard error; `deadline` after
 * `timeoutMs`; `cancelled` when `signal` aborts; `exhausted` when it writes more than `maxOutputBytes`.
 */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { timeoutMs = defaultTimeoutMs, maxOutputBytes = defaultMaxOutputBytes, signal } = options;
  const shown = describeCall(program, args);
  if (signal?.aborted === true) throw new FrotaError('cancelled', `${shown}: not started, it was cancelled before`);
  return new Promise<RunResult>((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
    });
    let failure: FrotaError | undefined;
    // First of all: where no descriptor is left there are no pipes, and the error comes in the next turn.
    child.on('error', (error: NodeJS.ErrnoException) => {
      settle(() => {
        reject(failure ?? startError(program, options.cwd, error));
      });
    });
    let stuckTimer: NodeJS.Timeout | undefined;
    const abandon = (error: FrotaError): void => {
      failure ??= error;
      child.kill('SIGKILL');
      // A grandchild may hold the pipes open after the program is dead: do not wait for it.
      child.stdout.destroy();
      child.stderr.destroy();
      // A program stuck in the kernel does not even end by SIGKILL; the caller goes on without it.
      stuckTimer ??= setTimeout(() => {
        child.unref();
        settle(() => {
          reject(error);
        });
      }, killGraceMs);
    };
    const timer = setTimeout(() => {
      abandon(new FrotaError('deadline', `${shown}: no end after ${String(timeoutMs)} ms, killed`));
    }, timeoutMs);
    const onAbort = (): void => {
      abandon(new FrotaError('cancelled', `${shown}: cancelled, killed`));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      clearTimeout(stuckTimer);
      signal?.removeEventListener('abort', onAbort);
      act();
    };
    const tooMuch = (): void => {
      abandon(new FrotaError('exhausted', `${shown}: wrote more than ${String(maxOutputBytes)} bytes, killed`));
    };
    const stdout = collect(child.stdout, maxOutputBytes, tooMuch);
    const stderr = collect(child.stderr, maxOutputBytes, tooMuch);
    // EPIPE when the program ends without reading its input: its exit code tells the story.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    child.on('close', (code, killedBy) => {
      settle(() => {
        const result = { stdout: stdout(), stderr: stderr(), code: code ?? -1 };
        if (failure !== undefined) reject(failure);
        else if (code !== null && (options.allowedCodes ?? [0]).includes(code)) resolve(result);
        else reject(exitError(shown, code, killedBy, result));
      });
    });
  });
}

/** What is wanted but not in PATH, with the Debian package that has it (the program's own name if unknown). */
export interface MissingProgram {
  readonly program: string;
  readonly debianPackage: string;
}

/** Looks `programs` up in PATH: where each one is, and all that are missing at once. */
export async function findPrograms(
  programs: readonly string[],
  path: string = process.env.PATH ?? '',
): Promise<{ readonly found: ReadonlyMap<string, string>; readonly missing: readonly MissingProgram[] }> {
  const found = new Map<string, string>();
  const missing: MissingProgram[] = [];
  for (const program of programs) {
    const place = await locate(program, path);
    if (place === undefined) missing.push({ program, debianPackage: debianPackages[program] ?? program });
    else found.set(program, place);
  }
  return { found, missing };
}

/** Throws one `unsupported` error that names every missing program and the command that installs them all. */
export async function requirePrograms(
  programs: readonly string[],
  path?: string,
): Promise<ReadonlyMap<string, string>> {
  const { found, missing } = await findPrograms(programs, path);
  if (missing.length > 0) throw missingProgramsError(missing);
  return found;
}

export function missingProgramsError(missing: readonly MissingProgram[]): FrotaError {
  const names = missing.map((each) => each.program).join(', ');
  const packages = [...new Set(missing.map((each) => each.debianPackage))].sort().join(' ');
  const problems = missing.map(({ program, debianPackage }) => ({
    where: program,
    message: `not found in PATH; it is in the Debian package ${debianPackage}`,
  }));
  const noun = missing.length === 1 ? 'program' : 'programs';
  return new FrotaError('unsupported', `missing ${noun}: ${names}; run: apt-get install ${packages}`, { problems });
}

async function locate(program: string, path: string): Promise<string | undefined> {
  const candidates = isAbsolute(program)
    ? [program]
    : path
        .split(delimiter)
        .filter((folder) => folder !== '')
        .map((folder) => join(folder, program));
  for (const candidate of candidates) {
    try {
      await access(candidate, constants.X_OK);
      return candidate;
    } catch {
      continue;
    }
  }
  return undefined;
}

function collect(stream: NodeJS.ReadableStream, limit: number, tooMuch: () => void): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > limit) tooMuch();
    else chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

/** The call as people know it, cut short. */
function describeCall(program: string, args: readonly string[]): string {
  const full = [program, ...args].join(' ').replace(/\s+/g, ' ');
  return full.length > maxShownArgs ? `${full.slice(0, maxShownArgs)}…` : full;
}

function startError(program: string, cwd: string | undefined, error: NodeJS.ErrnoException): FrotaError {
  if (error.code === 'ENOENT' && cwd === undefined) {
    return missingProgramsError([{ program, debianPackage: debianPackages[program] ?? program }]);
  }
  const where = cwd === undefined ? '' : ` in ${cwd}`;
  return new FrotaError('unavailable', `${program}: could not be started${where}: ${error.message}`, { cause: error });
}

function exitError(shown: string, code: number | null, killedBy: string | null, result: RunResult): FrotaError {
  const ending = code === null ? `was ended by ${String(killedBy)}` : `exited with code ${String(code)}`;
  const reason = lastLines(result.stderr.trim() === '' ? result.stdout : result.stderr, errorLines);
  return new FrotaError('unavailable', `${shown}: ${ending}${reason === '' ? '' : `: ${reason}`}`);
}

/** The last `count` lines that are not empty, joined by ` | `. */
export function lastLines(text: string, count: number): string {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return lines.slice(-count).join(' | ');
}
