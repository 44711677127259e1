/** One peer: a socket connected to it, so that the kernel hands over the ICMP "port unreachable" of a host without an agent. */
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { LivenessPeer } from '../../proto/codec/dispatch.ts';

export interface PeerLine {
  readonly peer: LivenessPeer;
  /** Before the socket is connected, or after `close`, nothing is sent. */
  send(bytes: Uint8Array): void;
  close(): void;
}

export interface LineEvents {
  /** Whatever arrives, unchecked. */
  readonly message: (bytes: Uint8Array) => void;
  readonly refused: () => void;
}

export function openLine(peer: LivenessPeer, events: LineEvents): PeerLine {
  const socket = createSocket(isIPv6(peer.address) ? 'udp6' : 'udp4');
  let state: 'opening' | 'open' | 'closed' = 'opening';
  const failed = (error: NodeJS.ErrnoException | null): void => {
    // Everything else is silence, as seen from here.
    if (error?.code === 'ECONNREFUSED' && state === 'open') events.refused();
  };
  socket.on('error', failed);
  socket.on('message', events.message);
  try {
    socket.connect(peer.livenessPort, peer.address, () => {
      if (state === 'opening') state = 'open';
    });
  } catch {
    // A port or address that is none: nothing ever answers there, and nothing is concluded from that.
  }
  return {
    peer,
    send: (bytes) => {
      if (state === 'open') socket.send(bytes, failed);
    },
    close: () => {
      if (state === 'closed') return;
      state = 'closed';
      socket.close();
    },
  };
}
