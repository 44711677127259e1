/** The main thread's side: starts the worker, tells it whom to send heartbeats to, and that it makes progress itself. */
import { Worker } from 'node:worker_threads';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { FromWorker, HeartbeatTarget, ToWorker, WorkerStart } from './messages.ts';

export interface HeartbeatsOptions {
  /** Of the built `worker.js`; a bundle moves `import.meta.url`, so that only the composition root knows it. */
  readonly workerUrl: URL;
  /** The node's own IP address, or one that stands for all. */
  readonly address: string;
  /** UDP; 0: any. */
  readonly port: number;
  readonly logger: Logger;
}

export interface Heartbeats {
  /** On which probes are answered. */
  readonly port: number;
  /** From now on heartbeats go there; again after each welcome. */
  setController(target: HeartbeatTarget): void;
  /** Says that this agent stops and is expected back; `close` waits until it is said. */
  announceRestart(): void;
  close(): Promise<void>;
}

/** Much shorter than any stall that is told. */
const progressIntervalMs = 100;

/** @throws FrotaError `unavailable` when the address or port can't be used. */
export async function createHeartbeats(options: HeartbeatsOptions): Promise<Heartbeats> {
  const { workerUrl, address, port, logger } = options;
  const progress = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const workerData: WorkerStart = { address, port, progress };
  const worker = new Worker(workerUrl, { workerData, name: 'liveness' });
  let closing = false;
  let started = false;
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const send = (message: ToWorker): void => {
    worker.postMessage(message);
  };
  const listening = new Promise<number>((resolve, reject) => {
    worker.on('message', (message: FromWorker) => {
      if (message.kind === 'listening') {
        resolve(message.port);
        return;
      }
      const where = `${address}:${String(port)}`;
      const what = `cannot answer probes on udp ${where}: ${message.message}; choose another with --liveness-port`;
      const error = new FrotaError('unavailable', what);
      reject(error);
      // Known only once there is a controller to answer to: without its heartbeats this node is taken for dead.
      if (started && !closing) throw error;
    });
    worker.once('error', (error) => {
      reject(FrotaError.from(error));
      // A node that can't say that it lives is taken for dead; a supervisor starts the agent anew within a second.
      if (!closing) throw new FrotaError('internal', 'the liveness thread died', { cause: error });
    });
  });
  const boundPort = await listening.catch(async (error: unknown) => {
    closing = true;
    await worker.terminate();
    throw error;
  });
  started = true;
  const count = new Int32Array(progress);
  const progressing = setInterval(() => Atomics.add(count, 0, 1), progressIntervalMs);
  progressing.unref();
  logger.debug({ address, port: boundPort }, 'answering probes');
  return {
    port: boundPort,
    setController: (target) => {
      send({ kind: 'controller', target });
    },
    announceRestart: () => {
      send({ kind: 'restart' });
    },
    close: async () => {
      if (!closing) send({ kind: 'close' });
      closing = true;
      await ended;
      clearInterval(progressing);
    },
  };
}
