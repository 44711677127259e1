/** FrotaError ↔ gRPC status. The exact code, the message with its causes and the problems travel in a binary trailer. */
import { Metadata, status } from '@grpc/grpc-js';
import type { ServiceError } from '@grpc/grpc-js';
import { describeError, errorCodes, FrotaError } from '../base/errors.ts';
import type { ErrorCode, Problem } from '../base/errors.ts';
import { withoutEmptyNote } from '../base/transport-words.ts';
import { maxErrorMessageLength, maxErrorTrailerBytes, maxStatusDetailsLength } from './limits.ts';

const errorTrailer = 'frota-error-bin';

const statusOfCode: Readonly<Record<ErrorCode, status>> = {
  invalid: status.INVALID_ARGUMENT,
  unauthenticated: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  'not-found': status.NOT_FOUND,
  'already-exists': status.ALREADY_EXISTS,
  conflict: status.ABORTED,
  stuck: status.FAILED_PRECONDITION,
  exhausted: status.RESOURCE_EXHAUSTED,
  unavailable: status.UNAVAILABLE,
  deadline: status.DEADLINE_EXCEEDED,
  cancelled: status.CANCELLED,
  corrupt: status.DATA_LOSS,
  unsupported: status.UNIMPLEMENTED,
  internal: status.INTERNAL,
};

/** What grpc-js takes as an error from a handler. */
export type StatusError = Error & { readonly code: status; readonly details: string; readonly metadata: Metadata };

export function toStatusError(error: FrotaError): StatusError {
  const message = shorten(describeError(error), maxErrorMessageLength);
  const metadata = new Metadata();
  metadata.set(errorTrailer, trailerOf(error.code, message, error.problems));
  const details = wellFormed(shorten(message, maxStatusDetailsLength));
  return Object.assign(new Error(details), { code: statusOfCode[error.code], details, metadata });
}

/** As many problems as fit, then how many are left out. */
function trailerOf(code: ErrorCode, message: string, problems: readonly Problem[]): Buffer {
  const kept: Problem[] = [];
  let bytes = Buffer.byteLength(JSON.stringify({ code, message }));
  for (const { where, message: text } of problems) {
    const problem = { where: shorten(where, maxErrorMessageLength), message: shorten(text, maxErrorMessageLength) };
    bytes += Buffer.byteLength(JSON.stringify(problem)) + 1;
    if (bytes > maxErrorTrailerBytes) {
      const left = problems.length - kept.length;
      kept.push({ where: 'more', message: `${String(left)} further problems are left out here` });
      break;
    }
    kept.push(problem);
  }
  return Buffer.from(JSON.stringify({ code, message, problems: kept }));
}

/** Without half surrogate pairs, which a cut may leave and on which grpc-js's percent-encoding throws. */
const wellFormed = (text: string): string => Buffer.from(text, 'utf8').toString('utf8');

const shorten = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`;

/** What the client knows of the call, for messages that say where. */
export interface CallPlace {
  /** As given, `host:port` joined by commas. */
  readonly address: string;
  readonly path: string;
  readonly deadlineMs?: number;
}

/** The error that a call ended with, on the client. */
export function fromStatusError(thrown: unknown, place: CallPlace): FrotaError {
  if (thrown instanceof FrotaError) return thrown;
  if (!isServiceError(thrown)) return FrotaError.from(thrown);
  return readTrailer(thrown.metadata) ?? fromTransport(thrown, place);
}

const isServiceError = (thrown: unknown): thrown is ServiceError =>
  thrown instanceof Error && 'code' in thrown && 'details' in thrown && 'metadata' in thrown;

/** Undefined when the status is not from a handler of Frota, or from one that cannot be understood. */
function readTrailer(metadata: Metadata): FrotaError | undefined {
  const [value] = metadata.get(errorTrailer);
  if (!(value instanceof Buffer)) return undefined;
  try {
    const sent = JSON.parse(value.toString('utf8')) as { code?: unknown; message?: unknown; problems?: unknown };
    const code = errorCodes.find((known) => known === sent.code);
    if (code === undefined || typeof sent.message !== 'string' || !Array.isArray(sent.problems)) return undefined;
    return new FrotaError(code, sent.message, { problems: sent.problems.filter(isProblem) });
  } catch {
    return undefined; // not ours: the status itself still says something
  }
}

const isProblem = (value: unknown): value is Problem =>
  typeof value === 'object' &&
  value !== null &&
  'where' in value &&
  'message' in value &&
  typeof value.where === 'string' &&
  typeof value.message === 'string';

/** A status that gRPC itself made: no connection, no time, no such method, a message too large. */
function fromTransport(error: ServiceError, { address, path, deadlineMs }: CallPlace): FrotaError {
  const cause = new Error(error.details === '' ? `gRPC status ${String(error.code)}` : withoutEmptyNote(error.details));
  const at = `the controller at ${address}`;
  switch (error.code) {
    case status.UNAVAILABLE:
      return new FrotaError(
        'unavailable',
        `no answer from ${at}: check that it runs, that the address is right, and that this certificate is of its cluster`,
        { cause },
      );
    case status.DEADLINE_EXCEEDED:
      return new FrotaError('deadline', `${at} did not answer ${path} within ${String(deadlineMs ?? 0)} ms`, { cause });
    case status.CANCELLED:
      return new FrotaError('cancelled', `the call of ${path} was cancelled`, { cause });
    case status.UNIMPLEMENTED:
      return new FrotaError('unsupported', `${at} does not know ${path}: its version is another one`, { cause });
    default:
      return new FrotaError(codeOfStatus(error.code), `${path} at ${address} failed`, { cause });
  }
}

function codeOfStatus(code: status): ErrorCode {
  if (code === status.OUT_OF_RANGE) return 'invalid';
  if (code === status.FAILED_PRECONDITION) return 'conflict';
  return errorCodes.find((known) => statusOfCode[known] === code) ?? 'internal';
}
