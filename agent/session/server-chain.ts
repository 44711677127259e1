import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { connect } from 'node:tls';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { FrotaError } from '../../proto/base/errors.ts';
import { parseAddress } from '../../proto/rpc/client.ts';
import { controllerServerName } from '../../proto/rpc/limits.ts';

/** A TLS handshake takes milliseconds; a machine that takes longer is no controller. */
const handshakeTimeoutMs = 10_000;
/** Leaf and CA today; a longer chain than this is nonsense. */
const maxChainLength = 8;

/**
 * The certificates a server shows, leaf first, verified by nobody: the caller picks by digest. The connection carries
 * nothing and is closed. @throws FrotaError `unavailable`, `deadline`, `cancelled`.
 */
export async function fetchChain(address: string, signal: AbortSignal): Promise<readonly X509Certificate[]> {
  const { host, port } = parseAddress(address);
  if (signal.aborted) throw new FrotaError('cancelled', 'joining was cancelled');
  return await new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      servername: isIP(host) === 0 ? host : controllerServerName,
      ALPNProtocols: ['h2'],
      // Nothing is believed here: the chain is only read, and then judged by the digest in the token.
      rejectUnauthorized: false,
    });
    const finish = (settle: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      settle();
    };
    const fail = (code: 'unavailable' | 'deadline' | 'cancelled', message: string, cause?: unknown): void => {
      finish(() => {
        reject(new FrotaError(code, message, { cause }));
      });
    };
    const onAbort = (): void => {
      fail('cancelled', 'joining was cancelled');
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.setTimeout(handshakeTimeoutMs, () => {
      fail(
        'deadline',
        `${address} did not answer within ${String(handshakeTimeoutMs / 1000)} s; is the address right?`,
      );
    });
    socket.once('error', (cause) => {
      fail(
        'unavailable',
        `no controller to join at ${address}: check that it runs and that the address is right`,
        cause,
      );
    });
    socket.once('secureConnect', () => {
      // Read before the socket is destroyed: afterwards there is nothing to read.
      const chain = chainOf(socket);
      finish(() => {
        resolve(chain);
      });
    });
  });
}

function chainOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let current: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  // A self-signed certificate is its own issuer.
  while (current?.raw !== undefined && chain.length < maxChainLength) {
    chain.push(new X509Certificate(current.raw));
    const next: DetailedPeerCertificate | undefined = current.issuerCertificate;
    current = next === current ? undefined : next;
  }
  return chain;
}
