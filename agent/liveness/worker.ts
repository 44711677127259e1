/** Entry of the worker thread that says "I live", whatever the main thread is busy with. */
import { createHmac } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { describeError } from '../../proto/base/errors.ts';
import { noNonce, openDatagram, sealDatagram } from '../../proto/codec/datagram.ts';
import type { DatagramType } from '../../proto/codec/datagram.ts';
import type { FromWorker, HeartbeatTarget, ToWorker, WorkerStart } from './messages.ts';

const { address, port, progress } = workerData as WorkerStart;
const progressCount = new Int32Array(progress);

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
let seenProgress = Atomics.load(progressCount, 0);
let progressAtMs = performance.now();

function stalledMs(): number {
  const count = Atomics.load(progressCount, 0);
  const now = performance.now();
  if (count !== seenProgress) progressAtMs = now;
  seenProgress = count;
  const stalled = now - progressAtMs;
  return stalled < tellStallAfterMs ? 0 : stalled;
}

function send(type: DatagramType, nonce: Uint8Array, toPort: number, toAddress: string): void {
  if (target === undefined || !listening) return;
  const { nodeId, bootId, key } = target;
  sequence += 1;
  const said = { type, nodeId, keyEpoch: currentKeyEpoch, bootId, sequence, nonce, restarting, stalledMs: stalledMs() };
  const bytes = sealDatagram(said, (signed) => createHmac('sha256', key).update(signed).digest());
  sending += 1;
  // No route, link down: the next heartbeat tries again, and the socket outlives it.
  socket.send(bytes, toPort, toAddress, () => {
    sending -= 1;
    if (closing && sending === 0) socket.close();
  });
}

function beat(): void {
  if (target !== undefined) send('heartbeat', noNonce(), target.port, target.address);
}

socket.on('message', (bytes, sender) => {
  if (target === undefined || closing) return;
  const { nodeId, key } = target;
  const opened = openDatagram(bytes, (id, keyEpoch) =>
    id === nodeId && keyEpoch === currentKeyEpoch
      ? (signed) => createHmac('sha256', key).update(signed).digest()
      : undefined,
  );
  if (opened.kind === 'refused') return;
  const { type, nonce } = opened.datagram;
  if (type === 'challenge') send('challenge-answer', nonce, sender.port, sender.address);
  else if (type === 'probe') send('probe-answer', nonce, sender.port, sender.address);
});
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

function setController(next: HeartbeatTarget): void {
  target = next;
  clearInterval(beating);
  beating = setInterval(beat, next.intervalMs);
  if (bound === undefined) listen(address);
  else beat();
}

parentPort?.on('message', (message: ToWorker) => {
  if (message.kind === 'controller') setController(message.target);
  else if (message.kind === 'restart') {
    restarting = true;
    for (let n = 0; n < restartAnnouncements; n += 1) beat();
  } else {
    closing = true;
    clearInterval(beating);
    if (sending === 0) socket.close();
    parentPort?.close();
  }
});
