/**
 * The one error class of Frota. Code decides on `code`, never on message text; people read `message`,
 * which says what is wrong, where, and what to do. `problems` carries several findings at once.
 * Shape after connect-es `connect-error.ts`.
 */

/** Closed set; each maps to one gRPC status in `proto/rpc` and to one exit status in `cli`. */
export const errorCodes = [
  'invalid', // the input is wrong: the person must change it
  'unauthenticated', // no or unknown certificate or token
  'forbidden', // known, but not allowed
  'not-found',
  'already-exists',
  'conflict', // somebody else changed it first, or the state does not allow it: read again
  'stuck', // accepted, but it can't come about unless somebody does something
  'exhausted', // a limit or a resource ran out
  'unavailable', // not reachable now; trying again may help
  'deadline', // it took longer than allowed
  'cancelled',
  'corrupt', // bytes do not match their digest or their format
  'unsupported', // this host or this version cannot do it
  'internal', // a bug of Frota
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** One finding about input. `where` is `file:line:column` or the name of the thing (service, node). */
export interface Problem {
  readonly where: string;
  readonly message: string;
}

export class FrotaError extends Error {
  override readonly name = 'FrotaError';
  readonly code: ErrorCode;
  readonly problems: readonly Problem[];

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; problems?: readonly Problem[] } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.problems = options.problems ?? [];
  }

  /** Anything thrown, as a FrotaError; what is none becomes `code` (default `internal`) with the original as cause. */
  static from(thrown: unknown, code: ErrorCode = 'internal'): FrotaError {
    if (thrown instanceof FrotaError) return thrown;
    if (thrown instanceof Error) {
      if (thrown.name === 'AbortError') return new FrotaError('cancelled', thrown.message, { cause: thrown });
      return new FrotaError(code, thrown.message, { cause: thrown });
    }
    return new FrotaError(code, String(thrown));
  }
}

/** The messages of an error and its causes, outermost first, joined by `: `; equal neighbours once. */
export function describeError(thrown: unknown): string {
  const parts: string[] = [];
  let current: unknown = thrown;
  for (let depth = 0; depth < maxCauseDepth && current !== undefined && current !== null; depth += 1) {
    const message = current instanceof Error ? current.message : textOf(current);
    if (message !== '' && !parts.some((part) => part.includes(message))) parts.push(message);
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(': ');
}

const textOf = (thrown: unknown): string => (typeof thrown === 'string' ? thrown : JSON.stringify(thrown));

/** Causes deeper than this say nothing more to a person, and a cycle must end. */
const maxCauseDepth = 6;
