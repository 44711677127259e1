/**
 * The agent's conversation with a controller: hello with what is held, then units in and statuses out, for as long as the
 * agent lives. A lost stream is opened again; everything that matters is said anew, so nothing depends on what was lost.
 */
import { backoffMs } from '../../proto/base/backoff.ts';
import type { BackoffPolicy } from '../../proto/base/backoff.ts';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Clock, MonoMs } from '../../proto/base/clock.ts';
import type { Logger } from '../../proto/base/log.ts';
import { pause } from '../../proto/base/pause.ts';
import type { AgentMessage, ControllerMessage, Welcome, LeaseGrant, LivenessPlan } from '../../proto/codec/dispatch.ts';
import type { LocalReport, StatusReport } from '../../proto/codec/status-report.ts';
import type { UnitChange } from '../../proto/codec/assignment.ts';
import type { OpenStream } from '../../proto/codec/streams.ts';
import type { NodeFacts } from '../../proto/domain/node.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import type { LocalAttempt } from '../reconcile/local-restart.ts';
import { AppliedUnits } from './applied-units.ts';
import type { FollowedUnit } from './applied-units.ts';
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
  /** Of a task that this node made by itself and of which no controller has decided yet. */
  readonly localAttempt?: (taskId: string) => LocalAttempt | undefined;
  /** The controller refuses these of them. */
  readonly onUnwanted?: (taskIds: readonly string[]) => Promise<void>;
  readonly onWelcome: (welcome: Welcome) => Promise<void>;
  readonly onUnit: (key: string) => Promise<void>;
  readonly onSynced: () => Promise<void>;
  readonly onLivenessPlan: (plan: LivenessPlan) => void;
  readonly onLease: (grant: LeaseGrant) => void;
  /** Answered on a stream of its own; returns at once. */
  readonly onOpen: (request: OpenStream) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

export interface Session {
  /** A task's status changed; goes out with the next batch. */
  report(status: TaskStatus): void;
  /** All service units that names, VIPs and ports follow from now on; what is news of it goes out at once. */
  applied(units: readonly FollowedUnit[]): void;
  readonly connected: boolean;
  /** Asks for the leases of fenced tasks. False: there is no controller to ask; what is sent may be lost nevertheless. */
  askLeases(number: number): boolean;
  /** For how long there has been no session; undefined: there is one. */
  cutOffForMs(): number | undefined;
  close(): Promise<void>;
}

/** Short, because a controller is back within a second; spread, because every agent comes back at once. */
const reconnect: BackoffPolicy = { firstMs: 100, factor: 2, maxMs: 1_000 };
/** A stream that lasted this long was a good one: the next failure starts the back-off anew. */
const goodStreamMs = 5_000;
/** Batches that may wait for their acknowledgement; further reports gather in the next one meanwhile. */
const maxUnacknowledged = 8;
/** Reports in one batch, so that a message stays far below the size limit of the transport. */
const maxReportsPerBatch = 512;
/** The same for units that are in force, each a key and a hash. */
const maxUnitsPerMessage = 1_024;

export function startSession(ports: SessionPorts): Session {
  return new AgentSession(ports);
}

class AgentSession implements Session {
  readonly #ports: SessionPorts;
  readonly #abort = new AbortController();
  /** By task id: what is to be told; only the latest counts. */
  readonly #dirty = new Map<string, TaskStatus>();
  readonly #applied = new AppliedUnits();
  readonly #done: Promise<void>;
  /** The stream on which a controller has said welcome. */
  #stream: DispatchStream | undefined;
  /** When the last session ended, or this one was begun for the first time. */
  #lostAtMs: MonoMs;
  #sequence = 0;
  #unacknowledged = 0;
  #flushing = false;

  constructor(ports: SessionPorts) {
    this.#ports = ports;
    this.#lostAtMs = ports.clock.now().monoMs;
    this.#done = this.#run();
  }

  get connected(): boolean {
    return this.#stream !== undefined;
  }

  cutOffForMs(): number | undefined {
    return this.connected ? undefined : this.#ports.clock.now().monoMs - this.#lostAtMs;
  }

  report(status: TaskStatus): void {
    this.#dirty.set(status.taskId, status);
    // Gathers what else happens in this turn of the event loop into one batch.
    setImmediate(() => void this.#flush());
  }

  applied(units: readonly FollowedUnit[]): void {
    this.#applied.set(units);
    setImmediate(() => void this.#flush());
  }

  askLeases(number: number): boolean {
    if (this.#stream === undefined) return false;
    this.#stream.send({ kind: 'lease-request', number }).catch(() => undefined);
    return true;
  }

  async close(): Promise<void> {
    this.#abort.abort();
    this.#stream?.close();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    for (let failures = 0; !signal.aborted; failures += 1) {
      const openedAtMs = this.#ports.clock.now().monoMs;
      let opened: DispatchStream | undefined;
      try {
        opened = this.#ports.open(signal);
        await this.#converse(opened);
        this.#ports.logger.info({}, 'the controller ended the session');
      } catch (error) {
        this.#ports.logger.warn({ error: describeError(error) }, 'session with the controller lost');
        // Refused by a controller is not cut off: this node is no longer to run anything of the cluster's.
        if (FrotaError.from(error).code === 'forbidden') this.#lostAtMs = this.#ports.clock.now().monoMs;
      } finally {
        if (this.#stream !== undefined && this.#ports.clock.now().monoMs - openedAtMs > goodStreamMs) failures = 0;
        if (this.#stream !== undefined) this.#lostAtMs = this.#ports.clock.now().monoMs;
        this.#stream = undefined;
        opened?.close();
      }
      await pause(backoffMs(reconnect, failures, this.#ports.random()), signal);
    }
  }

  async #converse(opened: DispatchStream): Promise<void> {
    const { bootId, assignments } = this.#ports;
    await opened.send({ kind: 'hello', facts: await this.#ports.facts(), bootId, held: assignments.held() });
    for await (const message of opened.messages) await this.#take(opened, message);
  }

  async #take(opened: DispatchStream, message: ControllerMessage): Promise<void> {
    const { assignments } = this.#ports;
    switch (message.kind) {
      case 'welcome':
        await this.#welcome(opened, message);
        break;
      case 'unit':
        await this.#takeUnit(message);
        break;
      case 'removed':
        this.#applied.forget(message.key);
        await assignments.remove(message.key);
        await this.#ports.onUnit(message.key);
        break;
      case 'ack':
        this.#unacknowledged = Math.max(0, this.#unacknowledged - 1);
        if (message.unwanted.length > 0) await this.#ports.onUnwanted?.(message.unwanted);
        await this.#flush();
        break;
      case 'synced':
        await this.#ports.onSynced();
        break;
      case 'liveness':
        this.#ports.onLivenessPlan(message);
        break;
      case 'lease':
        this.#ports.onLease(message);
        break;
      case 'ping':
        // Not awaited before the next message: a full stream is no reason to stop reading.
        opened.send({ kind: 'pong', number: message.number }).catch(() => undefined);
        break;
      case 'open':
        this.#ports.onOpen(message);
        break;
    }
  }

  async #takeUnit({ key, unit }: UnitChange & { readonly kind: 'unit' }): Promise<void> {
    this.#applied.expect(key, unit);
    const kept = this.#ports.assignments.put(key, unit);
    // Tasks are on disk before anything is done about them. The ways to them need not be: somewhere a task waits for this to stop, and
    // the tasks that come behind them wait for no disk but their own. Who dies meanwhile says what it holds, and is sent the rest.
    if (unit.unit.kind === 'tasks') await kept;
    await this.#ports.onUnit(key);
  }

  async #welcome(opened: DispatchStream, message: Welcome): Promise<void> {
    const { nodeId, nodeName, subnet, epoch, insecureRegistries } = message;
    await this.#ports.assignments.welcome({ nodeId, nodeName, subnet, epoch, insecureRegistries });
    await this.#ports.onWelcome(message);
    this.#tellAll();
    this.#applied.reset();
    this.#unacknowledged = 0;
    this.#stream = opened;
    await this.#flush();
    this.#ports.logger.info({ epoch, nodeId }, 'connected to the controller');
  }

  /** This node's own attempts first: before the controller hears that what they replaced has ended, and replaces it as well. */
  #tellAll(): void {
    const all = new Map(this.#dirty);
    for (const status of this.#ports.statuses()) all.set(status.taskId, status);
    this.#dirty.clear();
    const isLocal = ({ taskId }: TaskStatus): boolean => this.#ports.localAttempt?.(taskId) !== undefined;
    for (const status of all.values()) if (isLocal(status)) this.#dirty.set(status.taskId, status);
    for (const status of all.values()) this.#dirty.set(status.taskId, status);
  }

  async #flush(): Promise<void> {
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      // Applied units first: a task somewhere may be waiting for them to be stopped.
      while ((await this.#sendApplied()) || (await this.#sendStatuses()));
    } catch (error) {
      // The stream is gone; the next one tells everything anew.
      this.#ports.logger.debug({ error: describeError(error) }, 'reports not sent');
    } finally {
      this.#flushing = false;
    }
  }

  /** Whether there was anything. */
  async #sendApplied(): Promise<boolean> {
    if (this.#stream === undefined) return false;
    const units = this.#applied.takeNews(maxUnitsPerMessage);
    if (units.length === 0) return false;
    await this.#stream.send({ kind: 'applied', units });
    return true;
  }

  /** Whether there was anything that may be sent now. */
  async #sendStatuses(): Promise<boolean> {
    if (this.#stream === undefined || this.#dirty.size === 0 || this.#unacknowledged >= maxUnacknowledged) return false;
    const batch = [...this.#dirty.values()].slice(0, maxReportsPerBatch);
    for (const status of batch) this.#dirty.delete(status.taskId);
    this.#sequence += 1;
    this.#unacknowledged += 1;
    const nowMs = this.#ports.clock.now().wallMs;
    const reports = batch.map((status) => toReport(status, nowMs, this.#ports.localAttempt?.(status.taskId)));
    await this.#stream.send({ kind: 'statuses', sequence: this.#sequence, reports });
    return true;
  }
}

/** Wall times of this host become durations: the controller places them on its own clock. */
export function toReport(status: TaskStatus, nowMs: number, local?: LocalAttempt): StatusReport {
  const { sinceMs, startedAtMs, finishedAtMs, ...same } = status;
  const ago = (ms: number): number => Math.max(0, Math.round(nowMs - ms));
  return {
    ...same,
    sinceAgoMs: ago(sinceMs),
    ...(startedAtMs === undefined ? {} : { startedAgoMs: ago(startedAtMs) }),
    ...(finishedAtMs === undefined ? {} : { finishedAgoMs: ago(finishedAtMs) }),
    ...(local === undefined ? {} : { local: localReport(local, ago) }),
  };
}

function localReport({ createdAtMs, restartedAtMs, ...same }: LocalAttempt, ago: (ms: number) => number): LocalReport {
  return { ...same, createdAgoMs: ago(createdAtMs), restartedAgoMs: restartedAtMs.map(ago) };
}
