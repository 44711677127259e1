/** What becomes of connections to endpoints that vanished. The kernel keeps sending them there until told otherwise. */
import { connect } from 'node:net';
import pLimit from 'p-limit';
import { FrotaError, describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { run } from '../host/programs.ts';
import { contains } from './addresses.ts';
import type { Subnet } from './addresses.ts';

/** Each `conntrack` walks the whole table; more at once would only take the processors from the containers. */
const deletionsAtOnce = 2;
/** A living kernel answers a connection to a closed port in a round trip; this is many of those. */
export const silenceMs = 300;
/** Nothing listens on it (tcpmux), so that a living node answers with a reset. */
const closedPort = 1;
/** `conntrack -D` ends with 1 when nothing matched. */
const conntrackCodes = [0, 1];
/** A busy node tracks 262,144 connections of about 250 bytes each. */
const maxListingBytes = 128 * 1024 * 1024;

export type ConnectionKind = 'udp' | 'all';

/** Forgets the translations that lead to `addresses`. A missing `conntrack` program is logged, once a call. */
export async function forgetConnections(
  addresses: readonly string[],
  kind: ConnectionKind,
  logger: Logger,
): Promise<void> {
  if (addresses.length === 0) return;
  const limit = pLimit(deletionsAtOnce);
  const protocol = kind === 'udp' ? ['-p', 'udp'] : [];
  try {
    await Promise.all(
      addresses.map((address) =>
        limit(() => run('conntrack', ['-D', ...protocol, '--reply-src', address], { allowedCodes: conntrackCodes })),
      ),
    );
    logger.debug({ addresses, kind }, 'forgot connections to endpoints that are gone');
  } catch (error) {
    const fields = { addresses, kind, error: describeError(error) };
    logger.warn(
      fields,
      'connections to endpoints that are gone could not be forgotten; clients wait for their timeouts',
    );
  }
}

/** Addresses of `pool` to which the kernel translates connections now. */
export async function translatedTargets(pool: Subnet, logger: Logger): Promise<ReadonlySet<string>> {
  try {
    const options = { allowedCodes: conntrackCodes, maxOutputBytes: maxListingBytes };
    const { stdout } = await run('conntrack', ['-L', '-g', '-o', 'extended'], options);
    return new Set(replySources(stdout).filter((address) => contains(pool, address)));
  } catch (error) {
    logger.warn({ error: describeError(error) }, 'the connections of an earlier agent could not be read');
    return new Set();
  }
}

/** PURE: of each line of `conntrack -L` the source of the reply direction: who really answers. */
export function replySources(listing: string): readonly string[] {
  return listing.split('\n').flatMap((line) => {
    const sources = [...line.matchAll(/\bsrc=(\d+\.\d+\.\d+\.\d+)\b/g)].map((match) => match[1] ?? '');
    return sources[1] === undefined ? [] : [sources[1]];
  });
}

/** Whether the kernel at `address` answers within `silenceMs`: a connection or its refusal, both are answers. */
export async function answers(address: string, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) throw new FrotaError('cancelled', `${address}: not asked, the network is being closed`);
  return new Promise((resolve) => {
    // Not handed to the socket: Node leaves its listener on the signal, and this signal lives as long as the agent.
    const socket = connect({ host: address, port: closedPort });
    const settle = (answered: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(answered);
    };
    const onAbort = (): void => settle(false);
    signal.addEventListener('abort', onAbort);
    const timer = setTimeout(() => settle(false), silenceMs);
    socket.once('connect', () => settle(true));
    socket.on('error', (error: NodeJS.ErrnoException) => settle(error.code === 'ECONNREFUSED'));
  });
}
