/** A word to the process that undoes a fault, over a link that is cut for everything else: repeated until it is answered. */
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { pause } from '../../proto/base/pause.ts';
import { stopWord, undoneWord } from '../../proto/domain/drill-orders.ts';
import type { StopAddress } from '../../proto/domain/drill.ts';

/** Datagrams may be lost; undoing takes some tens of milliseconds. */
const repeatMs = 200;
/** A process that is there answers within a second or two, its retries included; one that is gone never does. */
const giveUpMs = 6_000;

export async function tellStop(stop: StopAddress, drillId: string, signal: AbortSignal): Promise<boolean> {
  const socket = createSocket(isIPv6(stop.address) ? 'udp6' : 'udp4');
  const answered = new AbortController();
  // A network that can't be reached now may be in a moment.
  socket.on('error', () => undefined);
  socket.on('message', (message) => {
    if (message.toString() === undoneWord + drillId) answered.abort();
  });
  const over = AbortSignal.any([signal, answered.signal]);
  try {
    for (let waitedMs = 0; waitedMs < giveUpMs && !over.aborted; waitedMs += repeatMs) {
      socket.send(stopWord + stop.key, stop.port, stop.address);
      await pause(repeatMs, over);
    }
    return answered.signal.aborted;
  } finally {
    socket.close();
  }
}
