/** The one place where the local cluster calls other programs. */
import { execFile } from 'node:child_process';
import { FrotaError } from '../../proto/base/errors.ts';

export interface CallOptions {
  readonly input?: string;
  readonly signal?: AbortSignal;
  /** Exit codes that are returned instead of thrown; default `[0]`. */
  readonly allowedCodes?: readonly number[];
  readonly timeoutMs?: number;
  readonly cwd?: string;
}

/** `ip`, `nft` and `umount` end within milliseconds; one that hangs must not hang the person's command. */
const defaultTimeoutMs = 20_000;
const maxOutputBytes = 8 * 1024 * 1024;
const maxShownCharacters = 160;

/**
 * @throws FrotaError `unsupported` when the program is missing, `cancelled`, `deadline`, else `unavailable` with what it wrote.
 */
export function call(
  program: string,
  args: readonly string[],
  options: CallOptions = {},
): Promise<{ readonly code: number; readonly stdout: string }> {
  const { allowedCodes = [0], timeoutMs = defaultTimeoutMs, signal, cwd } = options;
  const shown = [program, ...args].join(' ').slice(0, maxShownCharacters);
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      {
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: maxOutputBytes,
        ...(signal === undefined ? {} : { signal }),
        ...(cwd === undefined ? {} : { cwd }),
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code;
        if (typeof code === 'number' && allowedCodes.includes(code)) resolve({ code, stdout });
        else reject(describe(shown, error, stderr.trim() === '' ? stdout : stderr));
      },
    );
    // A program that ends without reading its input: its exit code tells the story.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input ?? '');
  });
}

function describe(
  shown: string,
  error: (Error & { code?: unknown; killed?: boolean }) | null,
  output: string,
): FrotaError {
  const cause = { cause: error };
  if (error?.code === 'ENOENT') {
    return new FrotaError('unsupported', `${shown}: the program is missing; run "npm start" or bin/setup once`, cause);
  }
  if (error?.name === 'AbortError') return new FrotaError('cancelled', `${shown}: cancelled`, cause);
  if (error?.killed === true) {
    return new FrotaError('deadline', `${shown}: it did not end in time and was killed`, cause);
  }
  const said = output.trim().split('\n').slice(-3).join(' | ');
  return new FrotaError(
    'unavailable',
    `${shown}: failed: ${said === '' ? (error?.message ?? 'no output') : said}`,
    cause,
  );
}
