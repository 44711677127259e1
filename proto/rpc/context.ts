/** What a handler knows of its caller. */
import type { EventEmitter } from 'node:events';
import type { ServerDuplexStream, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import { FrotaError } from '../base/errors.ts';

/** From the caller's certificate, which TLS has verified against the cluster's CA. */
export interface Peer {
  readonly commonName: string;
  readonly organization: string;
  /** Hexadecimal. */
  readonly serialNumber: string;
}

export interface CallContext {
  /** Absent where the caller has no certificate: on the join port. */
  readonly peer: Peer | undefined;
  /** IP address. */
  readonly remoteAddress: string;
  /** Aborts when the caller has cancelled, its deadline passed, its connection broke, or, for streams, the server closes. */
  readonly signal: AbortSignal;
}

type AnyCall =
  ServerUnaryCall<Buffer, Buffer> | ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;

export function contextOf(call: AnyCall, path: string): { context: CallContext; abort: (reason: FrotaError) => void } {
  const controller = new AbortController();
  // The three kinds of calls declare different overloads of `once`; as emitters they are the same.
  (call as EventEmitter).once('cancelled', () => {
    controller.abort(new FrotaError('cancelled', `the caller of ${path} is gone`));
  });
  const context = { peer: peerOf(call), remoteAddress: hostOf(call.getPeer()), signal: controller.signal };
  return {
    context,
    abort: (reason) => {
      controller.abort(reason);
    },
  };
}

function peerOf(call: AnyCall): Peer | undefined {
  const certificate = call.getAuthContext().sslPeerCertificate;
  // Without a certificate Node gives an empty object, whatever its type says.
  if (certificate === undefined || !('subject' in certificate)) return undefined;
  const { subject, serialNumber } = certificate;
  return { commonName: single(subject.CN), organization: single(subject.O), serialNumber };
}

/** A repeated attribute comes as a list; such a certificate is none of ours and must not match anything. */
const single = (value: string | string[] | undefined): string => (typeof value === 'string' ? value : '');

/** `10.0.0.1:7400` or `[fd00::1]:7400` or `fd00::1:7400`: what is before the last colon. */
export function hostOf(peer: string): string {
  const host = peer.slice(0, Math.max(0, peer.lastIndexOf(':')));
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  return bare.startsWith('::ffff:') ? bare.slice('::ffff:'.length) : bare;
}
