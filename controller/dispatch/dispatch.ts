/**
 * One session an agent: units out when their revision differs from what the agent holds, status reports in. Units are
 * encoded once per change and shared by all sessions.
 */
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Clock, MonoMs } from '../../proto/base/clock.ts';
import type { Logger } from '../../proto/base/log.ts';
import type {
  AgentMessage,
  ControllerMessage,
  AppliedUnit,
  Welcome,
  LeaseGrant,
  LivenessPlan,
} from '../../proto/codec/dispatch.ts';
import type { StatusReport } from '../../proto/codec/status-report.ts';
import { serviceUnitKey, unitKey } from '../../proto/domain/assignment.ts';
import type { RevisedUnit, Unit } from '../../proto/domain/assignment.ts';
import type { NodeFacts, NodeLiveness } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { ResolvedImage } from '../../proto/domain/service.ts';
import type { Task, TaskStatus } from '../../proto/domain/task.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { settleLocalAttempts } from './adopt.ts';
import type { Adoption } from './local-attempts.ts';
import { Drains, EndpointHistory } from './drains.ts';
import { checkFacts, takeReports } from './intake.ts';
import type { TimedReport } from './intake.ts';
import { createMailbox } from './mailbox.ts';
import type { Mailbox } from './mailbox.ts';
import { unitsOf, unitsOfNode } from './units.ts';
import type { UnitSet } from './units.ts';

export interface DispatchPorts {
  readonly snapshot: () => Snapshot;
  /** By node id. */
  readonly liveness: () => ReadonlyMap<string, NodeLiveness>;
  /** By node id: images that it is to have ahead of need. */
  readonly spareImages: () => ReadonlyMap<string, readonly ResolvedImage[]>;
  readonly revise: (unit: Unit) => RevisedUnit;
  /** Durable when it resolves. */
  readonly storeStatuses: (statuses: readonly TaskStatus[]) => Promise<void>;
  /** Which of them were written; the snapshot shows them when it resolves. */
  readonly adopt: (adoptions: readonly Adoption[]) => Promise<readonly boolean[]>;
  readonly rememberStatus: (status: TaskStatus) => void;
  readonly storeFacts: (facts: NodeFacts) => Promise<void>;
  readonly welcome: (nodeId: string) => Omit<Welcome, 'kind' | 'nodeId' | 'nodeName' | 'subnet'>;
  /** A node has said what of these units is in force there. */
  readonly onApplied?: (unitKeys: ReadonlySet<string>) => void;
  /** How often this node is to be heard, and whom it may probe. */
  readonly livenessPlan: (nodeId: string) => LivenessPlan;
  /** The node answered a ping. */
  readonly pong: (nodeId: string, number: number) => void;
  /** Of the node's fenced tasks. @throws FrotaError when this controller can't know that it leads. */
  readonly leases: (nodeId: string, number: number) => Promise<LeaseGrant>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Dispatch {
  /** One agent's stream, for as long as it lasts. `nodeId` comes from its certificate. */
  serve(nodeId: string, incoming: AsyncIterable<AgentMessage>, signal: AbortSignal): AsyncIterable<ControllerMessage>;
  /** The snapshot changed: sessions send what differs. */
  changed(): void;
  /** Whether every reachable node that needs the task's service has said that its ports and names lead to the task. */
  leadsEverywhere(task: Task): boolean;
  /** Puts a message on the node's session; false where there is none. */
  send(nodeId: string, message: ControllerMessage): boolean;
}

interface Live {
  readonly nodeId: string;
  /** By key the revision of what the agent has, or will have once it has read what was sent. */
  readonly held: Map<string, string>;
  /** By key: how many units had been sent over this stream when that one was sent last, itself included. */
  readonly sent: Map<string, number>;
  sentCount: number;
  /** By key the revision that the agent has said to be in force, since that unit was last sent to it. */
  readonly applied: Map<string, string>;
  readonly put: (message: ControllerMessage) => void;
  readonly wake: () => void;
  readonly end: () => void;
}

export function createDispatch(ports: DispatchPorts): Dispatch {
  // One session a node: a new one ends the one before, whose stream may be half dead.
  const sessions = new Map<string, Live>();
  const units = sharedUnits(ports, (nodeId) => sessions.get(nodeId)?.applied);

  async function* serve(
    nodeId: string,
    incoming: AsyncIterable<AgentMessage>,
    signal: AbortSignal,
  ): AsyncIterable<ControllerMessage> {
    const node = ports.snapshot().nodes.get(nodeId)?.value;
    if (node === undefined) {
      throw new FrotaError('forbidden', 'this node is no longer part of the cluster; join it again with a new token');
    }
    const messages = incoming[Symbol.asyncIterator]();
    const first = await messages.next();
    if (first.done === true || first.value.kind !== 'hello') {
      throw new FrotaError('invalid', 'a session begins with a hello');
    }
    checkFacts(first.value.facts);
    await ports.storeFacts({ ...first.value.facts, nodeId });
    const mailbox = createMailbox(signal);
    const held = new Map(first.value.held.map(({ key, revision }) => [key, revision]));
    const { put, wake, end } = mailbox;
    const live: Live = { nodeId, held, sent: new Map(), sentCount: 0, applied: new Map(), put, wake, end };
    sessions.get(nodeId)?.end();
    sessions.set(nodeId, live);
    // Ends with the stream, never throws, and nothing waits for it: a session that was replaced must be able to end first.
    void takeIn(ports, nodeId, messages, mailbox, (applied) => {
      noteApplied(live, applied);
      const keys = new Set(applied.map(({ key }) => key));
      ports.onApplied?.(keys);
      const waiting = units.drains.waitingFor(keys);
      for (const waitingId of waiting) sessions.get(waitingId)?.wake();
    });
    try {
      yield { kind: 'welcome', nodeId, nodeName: node.name, subnet: node.subnet, ...ports.welcome(nodeId) };
      yield ports.livenessPlan(nodeId);
      yield* units.difference(live);
      yield { kind: 'synced' };
      while (await mailbox.next(units.drains.dueInMs(nodeId))) {
        yield* mailbox.take();
        yield* units.difference(live);
      }
    } finally {
      mailbox.end();
      if (sessions.get(nodeId) === live) sessions.delete(nodeId);
    }
  }

  return {
    serve,
    leadsEverywhere: (task) => units.leadEverywhere(task),
    send: (nodeId, message) => {
      const session = sessions.get(nodeId);
      session?.put(message);
      return session !== undefined;
    },
    changed: () => {
      units.invalidate();
      const { nodes } = ports.snapshot();
      for (const session of sessions.values()) {
        if (nodes.has(session.nodeId)) session.wake();
        else session.end();
      }
    },
  };
}

function noteSent(live: Live, key: string, revision: string): void {
  live.held.set(key, revision);
  live.sentCount += 1;
  live.sent.set(key, live.sentCount);
  // What was in force says nothing about what will be: the agent says it anew.
  live.applied.delete(key);
}

function noteRemoved({ held, sent, applied }: Live, key: string): void {
  held.delete(key);
  sent.delete(key);
  applied.delete(key);
}

/** Only of units it was sent, and of their latest sending: what else it says is of before. */
function noteApplied(live: Live, applied: readonly AppliedUnit[]): void {
  for (const { key, revision, number } of applied)
    if (live.held.has(key) && number >= (live.sent.get(key) ?? 0)) live.applied.set(key, revision);
}

/** Ends with the stream, and never throws. */
async function takeIn(
  ports: DispatchPorts,
  nodeId: string,
  messages: AsyncIterator<AgentMessage>,
  mailbox: Mailbox,
  onApplied: (units: readonly AppliedUnit[]) => void,
): Promise<void> {
  try {
    for (;;) {
      const next = await messages.next();
      if (next.done === true) break;
      if (next.value.kind === 'pong') ports.pong(nodeId, next.value.number);
      if (next.value.kind === 'lease-request') answerLease(ports, nodeId, next.value.number, mailbox);
      if (next.value.kind === 'applied') onApplied(next.value.units);
      if (next.value.kind !== 'statuses') continue;
      const unwanted = await takeBatch(ports, nodeId, next.value.reports);
      mailbox.put({ kind: 'ack', sequence: next.value.sequence, unwanted });
    }
  } catch (error) {
    const { code } = FrotaError.from(error);
    if (code === 'cancelled') ports.logger.debug({ nodeId }, 'session ended');
    else
      ports.logger.warn(
        { nodeId, error: describeError(error) },
        'session ended; the agent comes back and tells all anew',
      );
  }
  mailbox.end();
}

/** Not awaited: the store may take its time, and statuses need not wait for it. A request without an answer is asked again. */
function answerLease(ports: DispatchPorts, nodeId: string, number: number, mailbox: Mailbox): void {
  ports.leases(nodeId, number).then(mailbox.put, (error: unknown) => {
    ports.logger.warn({ nodeId, error: describeError(error) }, 'leases are not renewed');
  });
}

/** @returns the local attempts that the node is to stop. */
async function takeBatch(
  ports: DispatchPorts,
  nodeId: string,
  reports: readonly StatusReport[],
): Promise<readonly string[]> {
  // First: once the end of the task before it is known, the plan would fill the slot anew.
  const unwanted = await settleLocalAttempts(ports, nodeId, reports);
  const intake = takeReports(ports.snapshot(), nodeId, reports.map(timed), ports.clock.now().wallMs);
  for (const status of intake.remember) ports.rememberStatus(status);
  if (intake.store.length > 0) await ports.storeStatuses(intake.store);
  return unwanted;
}

function timed({ sinceAgoMs, startedAgoMs, finishedAgoMs, local: _settled, ...status }: StatusReport): TimedReport {
  return {
    status,
    sinceAgoMs,
    ...(startedAgoMs === undefined ? {} : { startedAgoMs }),
    ...(finishedAgoMs === undefined ? {} : { finishedAgoMs }),
  };
}

/** Units and revisions of the latest snapshot, made when first asked for after a change. */
function sharedUnits(ports: DispatchPorts, applied: (nodeId: string) => ReadonlyMap<string, string> | undefined) {
  let current: UnitSet | undefined;
  // A unit that is equal as text keeps its revision: most changes touch few of a thousand services.
  const known = new Map<string, { text: string; revised: RevisedUnit }>();
  const history = new EndpointHistory();
  const now = (): MonoMs => ports.clock.now().monoMs;
  const drains = new Drains({ now, liveness: ports.liveness, applied, history, logger: ports.logger });

  // Units that many nodes share are the same object to all of them: written out once a change, not once a node.
  let shared = new Map<Unit, RevisedUnit>();

  function revisedShared(unit: Unit): RevisedUnit {
    const before = shared.get(unit);
    if (before !== undefined) return before;
    const next = revised('', unit);
    shared.set(unit, next);
    return next;
  }

  function revised(owner: string, unit: Unit): RevisedUnit {
    const key = `${owner} ${unitKey(unit)}`;
    const text = JSON.stringify(unit);
    const before = known.get(key);
    if (before?.text === text) return before.revised;
    const next = ports.revise(unit);
    known.set(key, { text, revised: next });
    history.add(unitKey(unit), next);
    return next;
  }

  function latest(): UnitSet {
    if (current !== undefined) return current;
    current = unitsOf(ports.snapshot(), ports.spareImages());
    shared = new Map();
    drains.follow(current);
    history.keep(new Set([...current.services.values()].map(unitKey)));
    return current;
  }

  return {
    drains,
    leadEverywhere: ({ id, stack, service }: Task): boolean => {
      latest();
      return drains.leadEverywhere({
        id,
        serviceId: serviceId(stack, service),
        unitKey: serviceUnitKey(stack, service),
      });
    },
    invalidate: () => {
      current = undefined;
      // Bounded by what exists: forget what no service or node stands for any more.
      const limit = 4 * (ports.snapshot().services.size + ports.snapshot().nodes.size) + 64;
      if (known.size > limit) known.clear();
    },
    /** What the node lacks, then what it holds in vain; what the session knows of it is brought up to date on the way. */
    *difference(live: Live): Iterable<ControllerMessage> {
      const { nodeId, held } = live;
      const wanted = unitsOfNode(latest(), nodeId);
      const keys = new Set(wanted.map(unitKey));
      for (const each of wanted) {
        const unit = each.kind === 'tasks' ? drains.tasksOf(nodeId, each) : each;
        const key = unitKey(unit);
        const isOwn = unit.kind === 'tasks' || unit.kind === 'images';
        const next = isOwn ? revised(nodeId, unit) : revisedShared(unit);
        if (held.get(key) === next.revision) continue;
        noteSent(live, key, next.revision);
        yield { kind: 'unit', key, unit: next };
      }
      for (const key of [...held.keys()]) {
        if (keys.has(key)) continue;
        noteRemoved(live, key);
        yield { kind: 'removed', key };
      }
    },
  };
}
