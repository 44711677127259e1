/** The main thread's side: starts the worker, tells it whom to watch, keeps what it says. */
import { Worker } from 'node:worker_threads';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import type { FromWorker, StateChange, ToWorker, WatchedNode, WorkerStart } from './messages.ts';
import { defaultLivenessSettings } from './settings.ts';
import type { LivenessSettings } from './settings.ts';

export interface LivenessJudgeOptions {
  /** Of the built `worker.js`; a bundle moves `import.meta.url`, so that only the composition root knows it. */
  readonly workerUrl: URL;
  /** IP address to listen on. */
  readonly address: string;
  /** UDP; 0: any. */
  readonly port: number;
  readonly settings?: LivenessSettings;
  readonly logger: Logger;
}

export interface LivenessJudge {
  readonly port: number;
  /**
   * All nodes to watch; those left out are forgotten. One that was never heard is judged from this call on, so that a
   * new leader buries nobody.
   */
  setNodes(nodes: readonly WatchedNode[]): void;
  /** By node id; no entry: neither heard yet nor given up. The map never changes once handed out. */
  states(): ReadonlyMap<string, NodeLiveness>;
  /** Who asks a node over its session: the answer comes back by `pong`. One at a time. */
  askBy(ping: (nodeId: string, number: number) => void): void;
  pong(nodeId: string, number: number): void;
  /** @returns a function that ends it. */
  onChange(listener: () => void): () => void;
  close(): Promise<void>;
}

/** @throws FrotaError `unavailable` when the address or port can't be used. */
export async function createLivenessJudge(options: LivenessJudgeOptions): Promise<LivenessJudge> {
  const { workerUrl, address, port, settings = defaultLivenessSettings, logger } = options;
  const workerData: WorkerStart = { address, port, settings };
  const worker = new Worker(workerUrl, { workerData, name: 'liveness' });
  const listeners = new Set<() => void>();
  let watched = new Set<string>();
  let states: ReadonlyMap<string, NodeLiveness> = new Map();
  let ping: (nodeId: string, number: number) => void = () => undefined;
  let closing = false;
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const send = (message: ToWorker): void => {
    worker.postMessage(message);
  };

  function take(changes: readonly StateChange[]): void {
    const next = new Map(states);
    for (const { nodeId, ...liveness } of changes) {
      // A message that crossed with the removal of its node.
      if (!watched.has(nodeId)) continue;
      logger.info({ node: nodeId, state: liveness.state, reason: liveness.reason }, 'node state');
      next.set(nodeId, { ...liveness, ...noticed(states.get(nodeId), liveness) });
    }
    states = next;
    for (const listener of listeners) listener();
  }

  const listening = new Promise<number>((resolve, reject) => {
    worker.on('message', (message: FromWorker) => {
      if (message.kind === 'listening') resolve(message.port);
      else if (message.kind === 'states') take(message.changes);
      else if (message.kind === 'ping') ping(message.nodeId, message.number);
      else if (message.kind === 'own-stall') logger.warn({ durationMs: message.durationMs }, ownStallText);
      else reject(cannotListen(`${address}:${String(port)}`, message.message));
    });
    worker.once('error', (error) => {
      reject(FrotaError.from(error));
      // Without it no node's loss would ever be seen; a supervisor starts the controller anew within a second.
      if (!closing) throw new FrotaError('internal', 'the liveness thread died', { cause: error });
    });
  });

  async function close(): Promise<void> {
    closing = true;
    listeners.clear();
    send({ kind: 'close' });
    await ended;
  }

  const boundPort = await listening.catch(async (error: unknown) => {
    closing = true;
    await worker.terminate();
    throw error;
  });
  return {
    port: boundPort,
    setNodes: (nodes) => {
      watched = new Set(nodes.map(({ nodeId }) => nodeId));
      states = new Map([...states].filter(([nodeId]) => watched.has(nodeId)));
      send({ kind: 'nodes', nodes });
    },
    states: () => states,
    askBy: (next) => {
      ping = next;
    },
    pong: (nodeId, number) => {
      send({ kind: 'pong', nodeId, number });
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close,
  };
}

/** When the silence was noticed that the node has been given up for. */
function noticed(before: NodeLiveness | undefined, { state }: NodeLiveness): Pick<NodeLiveness, 'suspectedAtMs'> {
  const suspectedAtMs = before?.state === 'suspect' ? before.sinceMs : before?.suspectedAtMs;
  const isSilent = state === 'down' || state === 'unreachable';
  return isSilent && suspectedAtMs !== undefined ? { suspectedAtMs } : {};
}

const ownStallText = 'the liveness thread stood still; that time counts against no node';

const cannotListen = (where: string, why: string): FrotaError =>
  new FrotaError(
    'unavailable',
    `cannot listen for heartbeats on udp ${where}: ${why}; choose another with --liveness-listen`,
  );
