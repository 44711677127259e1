/** The one place where the agent calls other programs: every call has a deadline, a bound on output and a clear error. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Ending, Launched, Launcher } from './launcher.ts';
import { asMissing, missingProgramsError } from './missing-programs.ts';
import type { MissingProgram } from './missing-programs.ts';
import { defaultMaxOutputBytes, spawned } from './spawned.ts';
import type { SpawnOptions } from './spawned.ts';

export interface RunOptions extends SpawnOptions {
  /** SIGKILL and a `deadline` error after this long; default `defaultTimeoutMs`. */
  readonly timeoutMs?: number;
  /** SIGKILL and a `cancelled` error when aborted. */
  readonly signal?: AbortSignal;
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
/** From SIGKILL to giving the program up. */
const killGraceMs = 1_000;
/** The last lines carry the reason; more would hide it. */
const errorLines = 5;
/** `argv` in error messages is cut here: people need the verb, not a page. */
const maxShownArgs = 160;

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
  const started = await start(program, args, options, () => {
    abandon(new FrotaError('exhausted', `${shown}: wrote more than ${String(maxOutputBytes)} bytes, killed`));
  });
  let failure: FrotaError | undefined;
  let stuckTimer: NodeJS.Timeout | undefined;
  let giveUp: (() => void) | undefined;
  const isStuck = new Promise<undefined>((resolve) => {
    giveUp = () => {
      resolve(undefined);
    };
  });
  function abandon(error: FrotaError): void {
    failure ??= error;
    started.kill();
    // A program stuck in the kernel does not even end by SIGKILL; the caller goes on without it.
    stuckTimer ??= setTimeout(() => giveUp?.(), killGraceMs);
  }
  const timer = setTimeout(() => {
    abandon(new FrotaError('deadline', `${shown}: no end after ${String(timeoutMs)} ms, killed`));
  }, timeoutMs);
  const onAbort = (): void => {
    abandon(new FrotaError('cancelled', `${shown}: cancelled, killed`));
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  if (isAborted(signal)) onAbort();
  try {
    const ending = await Promise.race([started.ended, isStuck]);
    if (failure !== undefined) throw failure;
    if (ending === undefined)
      throw new FrotaError('unavailable', `${shown}: what started it is gone; how it ended is not known`);
    if (ending.noFolder)
      throw new FrotaError('unavailable', `${program}: could not be started in ${options.cwd ?? ''}: no such folder`);
    const { stdout, stderr, code } = ending;
    if (code !== null && (options.allowedCodes ?? [0]).includes(code)) return { stdout, stderr, code };
    throw exitError(shown, ending);
  } finally {
    clearTimeout(timer);
    clearTimeout(stuckTimer);
    signal?.removeEventListener('abort', onAbort);
  }
}

/** Asked again: it may have come while the program was looked for. */
const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;

let launcher: Launcher | undefined;
/** Of programs that were found once: where. */
const places = new Map<string, string>();

/** From now on programs are started through `through`, until it is closed; its owner closes it. */
export function startProgramsThrough(through: Launcher): void {
  launcher = through;
}

/** A program with an environment of its own is started by this process itself. */
async function start(
  program: string,
  args: readonly string[],
  options: RunOptions,
  onTooMuch: () => void,
): Promise<Launched> {
  const { maxOutputBytes = defaultMaxOutputBytes, env, input, cwd } = options;
  if (launcher === undefined || launcher.isClosed || env !== undefined)
    return spawned(program, args, options, onTooMuch);
  const path = places.get(program) ?? (await locate(program, process.env.PATH ?? ''));
  if (path === undefined) throw missingProgramsError([asMissing(program)]);
  places.set(program, path);
  return launcher.launch({
    ...{ program: path, args, maxOutputBytes, onTooMuch },
    ...(input === undefined ? {} : { input }),
    ...(cwd === undefined ? {} : { cwd }),
  });
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
    if (place === undefined) missing.push(asMissing(program));
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

/** The call as people know it, cut short. */
function describeCall(program: string, args: readonly string[]): string {
  const full = [program, ...args].join(' ').replace(/\s+/g, ' ');
  return full.length > maxShownArgs ? `${full.slice(0, maxShownArgs)}…` : full;
}

function exitError(shown: string, { code, killedBy, ...result }: Ending): FrotaError {
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
