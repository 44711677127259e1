/**
 * Probes of one silent node, through a socket that is connected to it: only then does the kernel hand over the ICMP
 * "port unreachable" that tells a living host without an agent from a dead one.
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { equalBytes, nonceBytes } from '../../proto/codec/datagram.ts';

export interface Prober {
  readonly address: string;
  readonly port: number;
  /** Whether the nonce is one of the last probes', which proves that its answer is new. Each counts once. */
  takeNonce(nonce: Uint8Array): boolean;
  close(): void;
}

export interface ProberEvents {
  /** The sealed probe to send. */
  readonly seal: (nonce: Uint8Array) => Uint8Array;
  /** `unsendable`: this machine itself has no way out, which says nothing about the node. */
  readonly event: (kind: 'probe-sent' | 'refused' | 'unsendable') => void;
  /** Everything that arrives, unchecked. */
  readonly message: (bytes: Uint8Array) => void;
  /** Until the next probe, ms. */
  readonly intervalMs: () => number;
}

/** Errors of this machine's own network; a dead neighbour is EHOSTUNREACH. */
const ownFailures: ReadonlySet<string | undefined> = new Set(['ENETUNREACH', 'ENETDOWN', 'EADDRNOTAVAIL']);
/** Answers to older probes than these come too late to matter. */
const maxNonces = 64;

export function startProber(address: string, port: number, events: ProberEvents): Prober {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  const nonces: Uint8Array[] = [];
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function failed(error: NodeJS.ErrnoException): void {
    // Everything else is what silence looks like from here.
    if (error.code === 'ECONNREFUSED' && !closed) events.event('refused');
  }

  function count(error: NodeJS.ErrnoException | null): void {
    if (closed) return;
    events.event(ownFailures.has(error?.code) ? 'unsendable' : 'probe-sent');
    if (error !== null) failed(error);
  }

  function probe(): void {
    if (closed) return;
    const nonce = new Uint8Array(randomBytes(nonceBytes));
    nonces.push(nonce);
    if (nonces.length > maxNonces) nonces.shift();
    socket.send(events.seal(nonce), count);
    timer = setTimeout(probe, events.intervalMs());
  }

  socket.on('error', failed);
  socket.on('message', events.message);
  /** Without a connection there is nothing to send on; the rounds count all the same, or nothing would ever be judged. */
  function cannotConnect(error: NodeJS.ErrnoException): void {
    if (closed) return;
    count(error);
    timer = setTimeout(() => {
      cannotConnect(error);
    }, events.intervalMs());
  }

  try {
    socket.connect(port, address, (error?: Error) => {
      if (error === undefined || closed) probe();
      else cannotConnect(error);
    });
  } catch (error) {
    // A port or address that is none, from a record of another version: as good as silence.
    cannotConnect(error as NodeJS.ErrnoException);
  }

  return {
    address,
    port,
    takeNonce: (nonce) => {
      const index = nonces.findIndex((known) => equalBytes(known, nonce));
      if (index !== -1) nonces.splice(index, 1);
      return index !== -1;
    },
    close: () => {
      if (closed) return;
      closed = true;
      clearTimeout(timer);
      socket.close();
    },
  };
}
