/** Entry of the worker thread that hears all nodes, so that a busy main thread makes no node look dead. */
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { monoMs } from '../../proto/base/clock.ts';
import { describeError } from '../../proto/base/errors.ts';
import { maxDatagramBytes } from '../../proto/codec/datagram.ts';
import type { FromWorker, ToWorker, WorkerStart } from './messages.ts';
import { createWatcher } from './watcher.ts';

const { address, port, settings } = workerData as WorkerStart;

/** On Linux the nice value 0 names the calling thread. The kernel gives what the host allows. */
const threadPriority = -10;
/** Holds the heartbeats of thousands of nodes during a pause; the kernel cuts it to net.core.rmem_max. */
const receiveBufferBytes = 8 * 1024 * 1024;

const tell = (message: FromWorker): void => {
  parentPort?.postMessage(message);
};

try {
  setPriority(0, threadPriority);
} catch {
  // Without CAP_SYS_NICE it runs like any other thread.
}

const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
const watcher = createWatcher({
  settings,
  nowMs: () => monoMs(performance.now()),
  wallNowMs: () => Date.now(),
  changed: (change) => {
    tell({ kind: 'states', changes: [change] });
  },
  send: (bytes, node) => {
    socket.send(bytes, node.livenessPort, node.address, () => undefined);
  },
  ping: (nodeId, number) => {
    tell({ kind: 'ping', nodeId, number });
  },
});

let received = 0;
let lastLook = performance.now();
let looking: NodeJS.Immediate | undefined;
let listening = false;

socket.on('message', (bytes, sender) => {
  received += 1;
  if (bytes.length > maxDatagramBytes) return;
  watcher.receive(bytes, (reply) => {
    socket.send(reply, sender.port, sender.address, () => undefined);
  });
});
socket.on('error', (error) => {
  // Before the socket listens the address is at fault; afterwards a single datagram could not be sent or read.
  if (!listening) tell({ kind: 'failed', message: describeError(error) });
});
socket.bind(port, address, () => {
  listening = true;
  try {
    socket.setRecvBufferSize(receiveBufferBytes);
  } catch {
    // The default buffer then.
  }
  tell({ kind: 'listening', port: socket.address().port });
});

/** Turns of the event loop that a look waits for quiet: a large fleet is never quiet, and must be judged all the same. */
const maxTurns = 10;
/** After a stall: each turn reads 32 datagrams, and the fullest buffer must be read. */
const maxTurnsAfterStall = 1_000;

/** Judges once a whole turn of the event loop has brought nothing more: what waits in the socket was sent in time. */
function lookWhenRead(stalledMs: number, receivedBefore: number, turns: number): void {
  looking = setImmediate(() => {
    if (received !== receivedBefore && turns > 0) {
      lookWhenRead(stalledMs, received, turns - 1);
      return;
    }
    looking = undefined;
    if (stalledMs > 0) {
      tell({ kind: 'own-stall', durationMs: Math.round(stalledMs) });
      watcher.ownStall(stalledMs);
    }
    watcher.tick();
  });
}

const ticking = setInterval(() => {
  const now = performance.now();
  const lateMs = now - lastLook - settings.tickMs;
  lastLook = now;
  if (looking !== undefined && lateMs < settings.ownStallMs) return;
  clearImmediate(looking);
  // Immediates run after the sockets are read; after a stall at least two turns are waited for.
  if (lateMs >= settings.ownStallMs) lookWhenRead(lateMs, -1, maxTurnsAfterStall);
  else lookWhenRead(0, received, maxTurns);
}, settings.tickMs);

parentPort?.on('message', (message: ToWorker) => {
  if (message.kind === 'nodes') {
    watcher.setNodes(message.nodes);
    return;
  }
  if (message.kind === 'pong') {
    watcher.pong(message.nodeId, message.number);
    return;
  }
  clearInterval(ticking);
  clearImmediate(looking);
  watcher.close();
  socket.close();
  parentPort?.close();
});
