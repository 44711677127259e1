/**
 * The agent's conversation with a controller: hello with what is held, then units in and statuses out, for as long as the
 * agent lives. A lost stream is opened again; everything that matters is said anew, so nothing depends on what was lost.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../../proto/base/backoff.ts';
import type { BackoffPolicy } from '../../proto/base/backoff.ts';
import { describeError } from '../../proto/base/errors.ts';
import type { Clock } from '../../proto/base/clock.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { AgentMessage, ControllerMessage, StatusReport, Welcome } from '../../proto/codec/dispatch.ts';
import type { NodeFacts } from '../../proto/domain/node.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import type { Assignments } from './assignments.ts';

export interface DispatchStream {
  /** Resolves when the message is on its way or safely queued. */
  send(message: AgentMessage): Promise<void>;
  readonly messages: AsyncIterable<ControllerMessage>;
  close(): void;
}

export interface SessionPorts {
  readonly open: (signal: AbortSignal) => DispatchStream;
  readonly assignments: Assignments;
  readonly bootId: Uint8Array;
  /** Without the node's id, which the controller takes from the certificate. */
  readonly facts: () => Promise<NodeFacts>;
  /** Every task of this node as it is now; told in full at each new stream. */
  readonly statuses: () => readonly TaskStatus[];
  readonly onWelcome: (welcome: Welcome) => Promise<void>;
  readonly onUnit: (key: string) => Promise<void>;
  readonly onSynced: () => Promise<void>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

export interface Session {
  /** A task's status changed; goes out with the next batch. */
  report(status: TaskStatus): void;
  readonly connected: boolean;
  close(): Promise<void>;
}

/** Short, because a controller is back within a second; spread, because every agent comes back at once. */
const reconnect: BackoffPolicy = { firstMs: 100, factor: 2, maxMs: 1_000 };
/** Batches that may wait for their acknowledgement; further reports gather in the next one meanwhile. */
const maxUnacknowledged = 8;
/** Reports in one batch, so that a message stays far below the size limit of the transport. */
const maxReportsPerBatch = 512;

export function startSession(ports: SessionPorts): Session {
  const abort = new AbortController();
  const dirty = new Map<string, TaskStatus>();
  let stream: DispatchStream | undefined;
  let sequence = 0;
  let unacknowledged = 0;
  let flushing = false;

  async function flush(): Promise<void> {
    if (flushing) return;
    flushing = true;
    try {
      while (stream !== undefined && dirty.size > 0 && unacknowledged < maxUnacknowledged) {
        const batch = [...dirty.values()].slice(0, maxReportsPerBatch);
        for (const status of batch) dirty.delete(status.taskId);
        sequence += 1;
        unacknowledged += 1;
        const nowMs = ports.clock.now().wallMs;
        await stream.send({ kind: 'statuses', sequence, reports: batch.map((status) => toReport(status, nowMs)) });
      }
    } catch (error) {
      // The stream is gone; the next one tells every status anew.
      ports.logger.debug({ error: describeError(error) }, 'statuses not sent');
    } finally {
      flushing = false;
    }
  }

  async function converse(opened: DispatchStream): Promise<void> {
    const { bootId, assignments } = ports;
    await opened.send({ kind: 'hello', facts: await ports.facts(), bootId, held: assignments.held() });
    for await (const message of opened.messages) {
      switch (message.kind) {
        case 'welcome':
          await welcome(opened, message);
          break;
        case 'unit':
          await assignments.put(message.key, message.unit);
          await ports.onUnit(message.key);
          break;
        case 'removed':
          await assignments.remove(message.key);
          await ports.onUnit(message.key);
          break;
        case 'ack':
          unacknowledged = Math.max(0, unacknowledged - 1);
          await flush();
          break;
        case 'synced':
          await ports.onSynced();
          break;
      }
    }
  }

  async function welcome(opened: DispatchStream, message: Welcome): Promise<void> {
    const { nodeId, nodeName, subnet, epoch } = message;
    await ports.assignments.welcome({ nodeId, nodeName, subnet, epoch });
    await ports.onWelcome(message);
    for (const status of ports.statuses()) dirty.set(status.taskId, status);
    unacknowledged = 0;
    stream = opened;
    await flush();
    ports.logger.info({ epoch, nodeId }, 'connected to the controller');
  }

  async function run(): Promise<void> {
    for (let failures = 0; !abort.signal.aborted; failures += 1) {
      const opened = ports.open(abort.signal);
      try {
        await converse(opened);
        ports.logger.info({}, 'the controller ended the session');
      } catch (error) {
        if (!abort.signal.aborted) ports.logger.warn({ error: describeError(error) }, 'session with the controller lost');
      } finally {
        if (stream === opened) failures = 0;
        stream = undefined;
        opened.close();
      }
      await sleep(backoffMs(reconnect, failures, ports.random()), undefined, { signal: abort.signal }).catch(() => undefined);
    }
  }

  const done = run();
  return {
    report: (status) => {
      dirty.set(status.taskId, status);
      // Gathers what else happens in this turn of the event loop into one batch.
      setImmediate(() => void flush());
    },
    get connected() {
      return stream !== undefined;
    },
    close: async () => {
      abort.abort();
      stream?.close();
      await done;
    },
  };
}

/** Wall times of this host become durations: the controller places them on its own clock. */
export function toReport(status: TaskStatus, nowMs: number): StatusReport {
  const { sinceMs, startedAtMs, finishedAtMs, ...same } = status;
  const ago = (ms: number): number => Math.max(0, Math.round(nowMs - ms));
  return {
    ...same,
    sinceAgoMs: ago(sinceMs),
    ...(startedAtMs === undefined ? {} : { startedAgoMs: ago(startedAtMs) }),
    ...(finishedAtMs === undefined ? {} : { finishedAgoMs: ago(finishedAtMs) }),
  };
}
