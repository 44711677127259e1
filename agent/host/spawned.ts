/** A program as a child of this process: for programs with an environment of their own, and where there is no launcher. */
import { spawn } from 'node:child_process';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Ending, Launched } from './launcher.ts';
import { asMissing, missingProgramsError } from './missing-programs.ts';

export interface SpawnOptions {
  /** Written to standard input, which is then closed; without it standard input is empty. */
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
  /** The whole environment; default: the agent's own. */
  readonly env?: NodeJS.ProcessEnv;
  /** More output than this, on either stream, kills the program with an `exhausted` error. */
  readonly maxOutputBytes?: number;
}

/** Listings of a busy node stay far below; a program gone wild must not fill the agent's memory. */
export const defaultMaxOutputBytes = 16 * 1024 * 1024;

/** `ended` rejects when the program can't be started: `unsupported` when it is missing, else `unavailable`. */
export function spawned(
  program: string,
  args: readonly string[],
  options: SpawnOptions,
  onTooMuch: () => void,
): Launched {
  const { cwd, env, input = '', maxOutputBytes = defaultMaxOutputBytes } = options;
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
  });
  const ended = new Promise<Ending>((resolve, reject) => {
    // First of all: where no descriptor is left there are no pipes, and the error comes in the next turn.
    child.on('error', (error: NodeJS.ErrnoException) => {
      reject(startError(program, cwd, error));
    });
    const stdout = collect(child.stdout, maxOutputBytes, onTooMuch);
    const stderr = collect(child.stderr, maxOutputBytes, onTooMuch);
    // EPIPE when the program ends without reading its input: its exit code tells the story.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    child.on('close', (code, killedBy) => {
      resolve({ stdout: stdout(), stderr: stderr(), code, killedBy, noFolder: false });
    });
  });
  return {
    ended,
    kill: () => {
      child.kill('SIGKILL');
      // A grandchild may hold the pipes open after the program is dead: do not wait for it.
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
    },
  };
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

function startError(program: string, cwd: string | undefined, error: NodeJS.ErrnoException): FrotaError {
  if (error.code === 'ENOENT' && cwd === undefined) return missingProgramsError([asMissing(program)]);
  const where = cwd === undefined ? '' : ` in ${cwd}`;
  return new FrotaError('unavailable', `${program}: could not be started${where}: ${error.message}`, { cause: error });
}
