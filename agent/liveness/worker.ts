/** Entry of the worker thread that says "I live", whatever the main thread is busy with. */
import { createSocket } from 'node:dgram';
import type { RemoteInfo } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { monoMs } from '../../proto/base/clock.ts';
import { describeError } from '../../proto/base/errors.ts';
import { noNonce, openDatagram, pairKeyText, sealDatagram } from '../../proto/codec/datagram.ts';
import type { Datagram, DatagramType, Mac, StalledPart } from '../../proto/codec/datagram.ts';
import { macWith } from './mac.ts';
import { mark } from './messages.ts';
import type { FromWorker, HeartbeatTarget, ToWorker, WorkerStart } from './messages.ts';
import { createPeers } from './peers.ts';

const { address, port, marks: buffer } = workerData as WorkerStart;
const marks = new Int32Array(buffer);

/** On Linux 0 names the calling thread. The kernel gives what the host allows. */
const threadPriority = -10;
/** There is one epoch of keys until keys can be renewed. */
const currentKeyEpoch = 1;
/** A main thread that is only busy for a moment is not worth telling. */
const tellStallAfterMs = 1_000;
/** One may be lost, and the process is gone right after. */
const restartAnnouncements = 3;

const tell = (message: FromWorker): void => {
  parentPort?.postMessage(message);
};

try {
  setPriority(0, threadPriority);
} catch {
  // Without CAP_SYS_NICE it runs like any other thread.
}

const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
/** Stands for every address of this machine. */
const anyAddress = isIPv6(address) ? '::' : '0.0.0.0';
let bound: string | undefined;
let listening = false;
let target: HeartbeatTarget | undefined;
let beating: NodeJS.Timeout | undefined;
let restarting = false;
let sequence = 0;
let sending = 0;
let closing = false;
let seenProgress = Atomics.load(marks, mark.progress);
let progressAtMs = performance.now();

/** The part that has not moved for longest. The marks of the others are the main thread's, and as old as it is. */
function stalled(): { readonly stalledMs: number; readonly stalledPart: StalledPart } {
  const count = Atomics.load(marks, mark.progress);
  const now = performance.now();
  if (count !== seenProgress) progressAtMs = now;
  seenProgress = count;
  const all = [
    { stalledPart: 'main-thread', stalledMs: now - progressAtMs },
    { stalledPart: 'disk', stalledMs: Atomics.load(marks, mark.disk) },
    { stalledPart: 'runtime', stalledMs: Atomics.load(marks, mark.runtime) },
  ] as const;
  const worst = all.reduce((a, b) => (b.stalledMs > a.stalledMs ? b : a));
  return worst.stalledMs < tellStallAfterMs ? { stalledMs: 0, stalledPart: 'main-thread' } : worst;
}

function seal(from: HeartbeatTarget, what: Pick<Datagram, 'type' | 'nonce' | 'about'>, mac: Mac): Uint8Array {
  const { nodeId, bootId } = from;
  sequence += 1;
  return sealDatagram({ nodeId, keyEpoch: currentKeyEpoch, bootId, sequence, restarting, ...stalled(), ...what }, mac);
}

function send(type: DatagramType, nonce: Uint8Array, toPort: number, toAddress: string, about?: string): void {
  if (target === undefined) return;
  const what = about === undefined ? { type, nonce } : { type, nonce, about };
  put(seal(target, what, macWith(target.key)), toPort, toAddress);
}

function put(bytes: Uint8Array, toPort: number, toAddress: string): void {
  if (!listening || closing) return;
  sending += 1;
  // No route, link down: the next heartbeat tries again, and the socket outlives it.
  socket.send(bytes, toPort, toAddress, () => {
    sending -= 1;
    if (closing && sending === 0) socket.close();
  });
}

const peers = createPeers({
  nowMs: () => monoMs(performance.now()),
  seal: (peer, nonce) =>
    target === undefined
      ? undefined
      : seal(target, { type: 'peer-probe', nonce, about: peer.nodeId }, macWith(peer.key)),
  heard: (about, nonce) => {
    if (target !== undefined) send('peer-heard', nonce, target.port, target.address, about);
  },
  silent: (nodeIds) => {
    tell({ kind: 'silent', nodeIds });
  },
});

function beat(): void {
  if (target !== undefined) send('heartbeat', noNonce(), target.port, target.address);
}

socket.on('message', (bytes, sender) => {
  if (target === undefined || closing) return;
  const { nodeId, key } = target;
  const own = macWith(key);
  const opened = openDatagram(bytes, (id, keyEpoch, type, about) => {
    if (keyEpoch !== currentKeyEpoch) return undefined;
    // A peer that asks names itself first; the key of the pair follows from this node's own.
    if (type === 'peer-probe') return about === nodeId ? macWith(own(pairKeyText(id))) : undefined;
    return id === nodeId ? own : undefined;
  });
  if (opened.kind === 'refused') return;
  const { type, nonce, about = '', nodeId: asker } = opened.datagram;
  if (type === 'challenge') send('challenge-answer', nonce, sender.port, sender.address);
  else if (type === 'probe') send('probe-answer', nonce, sender.port, sender.address);
  else if (type === 'ask') peers.ask(about, nonce);
  else if (type === 'peer-probe') answerPeer(target, asker, nonce, sender);
});

function answerPeer(self: HeartbeatTarget, asker: string, nonce: Uint8Array, sender: RemoteInfo): void {
  const mac = macWith(macWith(self.key)(pairKeyText(asker)));
  // A pair's datagrams are named as the asker named them.
  const named = { ...self, nodeId: asker };
  put(seal(named, { type: 'peer-answer', nonce, about: self.nodeId }, mac), sender.port, sender.address);
}

socket.on('error', (error) => {
  // Before the socket listens the address is at fault; afterwards a single datagram could not be sent or read.
  if (listening) return;
  if ((error as NodeJS.ErrnoException).code === 'EADDRNOTAVAIL' && bound === address) listen(anyAddress);
  else tell({ kind: 'failed', message: describeError(error) });
});
socket.on('listening', () => {
  listening = true;
  if (port === 0) tell({ kind: 'listening', port: socket.address().port });
  beat();
});
// A socket that is there and can't answer looks like a dead host; one that is not there is refused, which gives the node its
// grace while its agent starts. So a known port is taken only when there is a controller to answer to.
if (port === 0) listen(address);
else tell({ kind: 'listening', port });

/** The address that others use may be a translator's, or not be there yet: then on all of this machine. */
function listen(on: string): void {
  bound = on;
  socket.bind(port, on);
}

function beatEvery(intervalMs: number): void {
  clearInterval(beating);
  beating = setInterval(beat, intervalMs);
}

function setController(next: HeartbeatTarget): void {
  target = next;
  beatEvery(next.intervalMs);
  if (bound === undefined) listen(address);
  else beat();
}

function take(message: ToWorker): void {
  switch (message.kind) {
    case 'controller':
      setController(message.target);
      break;
    case 'plan':
      peers.setPeers(message.peers);
      if (beating !== undefined && message.intervalMs > 0) beatEvery(message.intervalMs);
      break;
    case 'used':
      peers.setUsed(message.nodeIds);
      break;
    case 'restart':
      restarting = true;
      for (let n = 0; n < restartAnnouncements; n += 1) beat();
      break;
    case 'close':
      closing = true;
      peers.close();
      clearInterval(beating);
      if (sending === 0) socket.close();
      parentPort?.close();
      break;
  }
}

parentPort?.on('message', take);
