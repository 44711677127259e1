/** The main thread's side: starts the worker, tells it whom to send heartbeats to, and that it makes progress itself. */
import { Worker } from 'node:worker_threads';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { LivenessPeer } from '../../proto/codec/dispatch.ts';
import { mark, marksBytes } from './messages.ts';
import type { FromWorker, HeartbeatTarget, ToWorker, WorkerStart } from './messages.ts';
import type { Watchdog } from './watchdog.ts';

export interface HeartbeatsOptions {
  /** Of the built `worker.js`; a bundle moves `import.meta.url`, so that only the composition root knows it. */
  readonly workerUrl: URL;
  /** The node's own IP address, or one that stands for all. */
  readonly address: string;
  /** UDP; 0: any. */
  readonly port: number;
  /** Calls that are expected to return soon; one that does not is told with the heartbeats. */
  readonly disk: Watchdog;
  readonly runtime: Watchdog;
  readonly logger: Logger;
}

export interface Heartbeats {
  /** On which probes are answered. */
  readonly port: number;
  /** From now on heartbeats go there; again after each welcome. */
  setController(target: HeartbeatTarget): void;
  /** How often to say that this node lives, and whom to probe. */
  setPlan(plan: { readonly heartbeatIntervalMs: number; readonly peers: readonly LivenessPeer[] }): void;
  /** The nodes whose endpoints this one uses. */
  setUsed(nodeIds: readonly string[]): void;
  /** Told all nodes that do not answer this one, whenever that changes. One listener. */
  onSilent(listener: (nodeIds: ReadonlySet<string>) => void): void;
  /** Says that this agent stops and is expected back; `close` waits until it is said. */
  announceRestart(): void;
  close(): Promise<void>;
}

/** Much shorter than any stall that is told. */
const progressIntervalMs = 100;

/** @throws FrotaError `unavailable` when the address or port can't be used. */
export async function createHeartbeats(options: HeartbeatsOptions): Promise<Heartbeats> {
  const { workerUrl, address, port, logger } = options;
  const marks = new SharedArrayBuffer(marksBytes);
  const workerData: WorkerStart = { address, port, marks };
  let silentListener: (nodeIds: ReadonlySet<string>) => void = () => undefined;
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
      if (message.kind === 'silent') {
        silentListener(new Set(message.nodeIds));
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
  const progressing = setInterval(() => {
    setMarks(new Int32Array(marks), options);
  }, progressIntervalMs);
  progressing.unref();
  logger.debug({ address, port: boundPort }, 'answering probes');
  return {
    port: boundPort,
    setController: (target) => {
      send({ kind: 'controller', target });
    },
    setPlan: ({ heartbeatIntervalMs, peers }) => {
      send({ kind: 'plan', intervalMs: heartbeatIntervalMs, peers });
    },
    setUsed: (nodeIds) => {
      send({ kind: 'used', nodeIds });
    },
    onSilent: (listener) => {
      silentListener = listener;
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

function setMarks(marks: Int32Array, { disk, runtime }: Pick<HeartbeatsOptions, 'disk' | 'runtime'>): void {
  Atomics.add(marks, mark.progress, 1);
  Atomics.store(marks, mark.disk, Math.round(disk.oldestMs()));
  Atomics.store(marks, mark.runtime, Math.round(runtime.oldestMs()));
}
