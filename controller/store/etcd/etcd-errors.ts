/**
 * What etcd or the way to it answers, as a FrotaError. The library turns a status into a class of its own and drops the
 * number, so classes are what is decided on.
 */
import {
  castGrpcError,
  EtcdAuthenticationFailedError,
  EtcdPermissionDeniedError,
  GRPCDataLossError,
  GRPCFailedPreconditionError,
  GRPCInvalidArgumentError,
  GRPCNotImplementedError,
  GRPCOutOfRangeError,
  GRPCResourceExhastedError,
  GRPCUnauthenticatedError,
} from 'etcd3';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { ErrorCode } from '../../../proto/base/errors.ts';
import { withoutEmptyNote } from '../../../proto/base/transport-words.ts';

/** Answers that say something about the request or the state; everything else says that no answer came. */
const answers: readonly (readonly [new (...args: never[]) => Error, ErrorCode, string])[] = [
  [
    GRPCResourceExhastedError,
    'exhausted',
    'has no room and writes nothing; if its database has reached its quota, compact and defragment it, then `etcdctl alarm disarm`',
  ],
  [
    EtcdPermissionDeniedError,
    'forbidden',
    'does not let this controller in; its user (the common name of --store-cert) needs to read and write /frota/',
  ],
  [GRPCUnauthenticatedError, 'forbidden', 'does not know this controller; check --store-cert and --store-key'],
  [EtcdAuthenticationFailedError, 'forbidden', 'does not know this controller; check --store-cert and --store-key'],
  [GRPCNotImplementedError, 'unsupported', 'does not speak etcd 3; check the address given with --store'],
  [
    GRPCInvalidArgumentError,
    'unsupported',
    'refuses what this controller asks; it must be etcd 3.4 or newer with the default limits, and without users or with etcds:// and --store-cert',
  ],
  [GRPCFailedPreconditionError, 'unavailable', 'cannot do this now'],
  [GRPCDataLossError, 'corrupt', 'says that its data is damaged; restore it from a snapshot'],
];

/** `where`: the member's address. */
export function etcdError(thrown: unknown, where: string): FrotaError {
  if (thrown instanceof FrotaError) return thrown;
  const error = thrown instanceof Error ? castGrpcError(thrown) : new Error(String(thrown));
  for (const [kind, code, text] of answers) {
    if (error instanceof kind) return new FrotaError(code, `etcd at ${where} ${text}`, { cause: error });
  }
  return new FrotaError('unavailable', `etcd at ${where} does not answer`, {
    cause: new Error(withoutEmptyNote(error.message)),
  });
}

/** A revision that is compacted, or one yet to come. */
export const isOutOfRange = (thrown: unknown): boolean =>
  thrown instanceof Error && castGrpcError(thrown) instanceof GRPCOutOfRangeError;
