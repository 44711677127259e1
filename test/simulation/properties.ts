/** What must hold at every instant. Each looks at one thing that has just happened; an answer is what is wrong with it. */
import { isEnded, slotName, taskState, taskStateRank } from '../../proto/domain/task.ts';
import type { ServiceSpec } from '../../proto/domain/service.ts';
import type { Task, TaskState } from '../../proto/domain/task.ts';
import type { DesiredNetwork } from '../../agent/network/network.ts';
import type { Snapshot } from '../../controller/plan/snapshot.ts';
import { drainConfirmWithinMs } from '../../controller/dispatch/drains.ts';
import { parseKey } from '../../controller/store/keys.ts';
import type { Commit } from './simulated-store.ts';

export interface Property<What> {
  readonly name: string;
  readonly why: string;
  readonly check: (what: What) => string | undefined;
}

/** Records one transaction wrote or deleted. */
function changedIds(commit: Commit, kind: 'task' | 'status' | 'stack' | 'service'): readonly string[] {
  return commit.batch.changes.flatMap((change) => {
    const key = parseKey(change.kind === 'put' ? change.entry.key : change.key);
    return key !== undefined && key.kind === kind ? [key.id] : [];
  });
}

const stateIn = (snapshot: Snapshot, task: Task): TaskState => taskState(task, snapshot.statuses.get(task.id));

/** Wanted, and it may still run or has yet to. */
export const isWanted = (snapshot: Snapshot, task: Task): boolean =>
  task.desired === 'running' && !isEnded(stateIn(snapshot, task));

export const sameSlot = (a: Task, b: Task): boolean =>
  a.stack === b.stack && a.service === b.service && a.slot === b.slot;

export const slotWantedOnce: Property<Commit> = {
  name: 'slot-wanted-once',
  why: 'two tasks wanted in one slot are one replica too many, and for a slot with a volume a damaged one',
  check: (commit) => {
    for (const id of changedIds(commit, 'task')) {
      const task = commit.after.tasks.get(id)?.value;
      // Who is wanted was wanted before, but for a task that is new.
      if (task === undefined || commit.before.tasks.has(id) || !isWanted(commit.after, task)) continue;
      const others = tasksOfSlot(commit.after, task).filter(
        (other) => other.id !== id && isWanted(commit.after, other),
      );
      const [other, ...more] = others;
      if (other === undefined || (more.length === 0 && isReplacement(commit, other, task))) continue;
      const ids = others.map((each) => each.id).join(' and as ');
      return `${task.stack}/${slotName(task.service, task.slot)} is wanted as ${id} and as ${ids}`;
    }
    return undefined;
  },
};

/**
 * The new task comes up while the old one, which runs, goes on: on a node that is drained or that the service's constraints
 * no longer allow, or where an update starts first. The plan may have seen node and stack as they were a moment ago.
 */
function isReplacement({ before, recent }: Commit, old: Task, next: Task): boolean {
  if (stateIn(before, old) !== 'running' || next.attempt <= old.attempt) return false;
  return recent.some((snapshot) => {
    const node = snapshot.nodes.get(old.nodeId ?? '')?.value;
    if (node?.availability === 'drain') return true;
    const spec = specOf(snapshot, old);
    // People here write constraints on one label only.
    const fits = spec?.placement.constraints.every(
      ({ operator, value }) => (node?.labels['zone'] === value) === (operator === '=='),
    );
    if (fits === false) return true;
    return startsFirst(spec, old, next);
  });
}

export const tasksOfSlot = (snapshot: Snapshot, task: Task): readonly Task[] =>
  [...snapshot.tasks.values()].flatMap(({ value }) => (sameSlot(value, task) ? [value] : []));

/** Whether an update may let the task of the new version come up before the old one has ended, whatever the old one is told. */
function startsFirst(spec: ServiceSpec | undefined, old: Task, next: Task): boolean {
  return spec !== undefined && mayStartFirst(spec) && old.templateHash !== next.templateHash;
}

/** One of its two kinds of update does. */
export const mayStartFirst = ({ update, rollback }: ServiceSpec): boolean =>
  update.order === 'start-first' || rollback.order === 'start-first';

const specOf = (snapshot: Snapshot, { stack, service }: Task): ServiceSpec | undefined =>
  snapshot.stacks.get(stack)?.value.spec.services.find(({ name }) => name === service);

/** Ids of the other tasks of its slot that may still run when a task comes to be: an update may let it start beside them. */
export function companionsOf({ before, after, batch }: Commit): ReadonlyMap<string, readonly string[]> {
  const companions = new Map<string, readonly string[]>();
  for (const id of changedIds({ before, after, batch, recent: [] }, 'task')) {
    const task = after.tasks.get(id)?.value;
    if (task === undefined || before.tasks.has(id)) continue;
    const others = tasksOfSlot(before, task).filter((other) => !isEnded(stateIn(before, other)));
    if (others.some((other) => other.desired === 'running' || startsFirst(specOf(after, other), other, task)))
      companions.set(
        id,
        others.map((other) => other.id),
      );
  }
  return companions;
}

export const placedWithinCapacity: Property<Commit> = {
  name: 'placed-within-capacity',
  why: 'a reservation is a promise: a node that promises more than it has makes its containers fail under load',
  check: (commit) => {
    for (const id of changedIds(commit, 'task')) {
      const task = commit.after.tasks.get(id)?.value;
      if (task?.nodeId === undefined || commit.before.tasks.get(id)?.value.nodeId === task.nodeId) continue;
      // It has run there for a while; what it replaced has ended and may not be told yet.
      if (task.byNode === true) continue;
      const capacity = commit.after.facts.get(task.nodeId)?.capacity;
      if (capacity === undefined) return `${id} was placed on ${task.nodeId}, which never said what it has`;
      let cpuMillis = 0;
      let memoryBytes = 0;
      for (const { value: other } of commit.after.tasks.values()) {
        if (other.nodeId !== task.nodeId || isEnded(stateIn(commit.after, other))) continue;
        cpuMillis += other.template.reservations.cpuMillis;
        memoryBytes += other.template.reservations.memoryBytes;
      }
      if (cpuMillis <= capacity.cpuMillis && memoryBytes <= capacity.memoryBytes) continue;
      return `${task.nodeId} has ${JSON.stringify(capacity)}, and with ${id} promises ${JSON.stringify({ cpuMillis, memoryBytes })}`;
    }
    return undefined;
  },
};

export const placedOnActiveNodes: Property<Commit> = {
  name: 'placed-on-active-nodes',
  why: 'from the moment a node is drained or paused it takes nothing new, or a drain never ends',
  check: (commit) => {
    for (const id of changedIds(commit, 'task')) {
      const task = commit.after.tasks.get(id)?.value;
      if (task?.nodeId === undefined || commit.before.tasks.get(id)?.value.nodeId === task.nodeId) continue;
      if (task.byNode === true) continue;
      const node = commit.before.nodes.get(task.nodeId)?.value;
      if (node?.availability !== 'active')
        return `${id} was placed on ${task.nodeId}, which is ${String(node?.availability)}`;
    }
    return undefined;
  },
};

const desiredRank = { running: 0, shutdown: 1, remove: 2 } as const;

export const tasksOnlyAdvance: Property<Commit> = {
  name: 'tasks-only-advance',
  why: 'a task is one attempt on one node: what was decided of it and what it has reached is never taken back',
  check: (commit) => {
    const ids = new Set([...changedIds(commit, 'task'), ...changedIds(commit, 'status')]);
    for (const id of ids) {
      const [before, after] = [commit.before.tasks.get(id)?.value, commit.after.tasks.get(id)?.value];
      if (before === undefined || after === undefined) continue;
      if (desiredRank[after.desired] < desiredRank[before.desired]) return `${id} is wanted again`;
      if (before.nodeId !== undefined && after.nodeId !== before.nodeId) return `${id} moved from ${before.nodeId}`;
      if (before.orphaned === true && after.orphaned !== true) return `${id} was given up and is taken back`;
      if (identityOf(before) !== identityOf(after))
        return `${id} became another: ${identityOf(before)}, ${identityOf(after)}`;
      const [from, to] = [stateIn(commit.before, before), stateIn(commit.after, after)];
      // What its node says at last of a task that was given up is the truth about it.
      if (from === 'orphaned' && isEnded(to)) continue;
      if (taskStateRank(to) < taskStateRank(from)) return `${id} went back from ${from} to ${to}`;
    }
    return undefined;
  },
};

const identityOf = ({ stack, service, slot, attempt, templateHash, createdAtMs }: Task): string =>
  JSON.stringify({ stack, service, slot, attempt, templateHash, createdAtMs });

export const endsAreFinal: Property<Commit> = {
  name: 'ends-are-final',
  why: 'a task that has ended has ended: a replacement may exist already, and history is not rewritten',
  check: (commit) => {
    for (const id of changedIds(commit, 'status')) {
      const [before, after] = [commit.before.statuses.get(id), commit.after.statuses.get(id)];
      if (before === undefined || after === undefined || !isEnded(before.state)) continue;
      if (before.state !== after.state || before.exitCode !== after.exitCode) {
        return `${id} ended as ${before.state} (${String(before.exitCode)}) and then as ${after.state} (${String(after.exitCode)})`;
      }
    }
    return undefined;
  },
};

export const noStatusWithoutTask: Property<Commit> = {
  name: 'no-status-without-task',
  why: 'a status whose task is gone stays for ever: nothing would delete it',
  check: (commit) => {
    const ids = new Set([...changedIds(commit, 'task'), ...changedIds(commit, 'status')]);
    for (const id of ids) {
      if (commit.after.statuses.has(id) && !commit.after.tasks.has(id)) return `the status of ${id} has no task`;
    }
    return undefined;
  },
};

export const vipsAreUnique: Property<Commit> = {
  name: 'addresses-are-unique',
  why: 'two services with one virtual address or published port get each other’s traffic; and a VIP never changes in a service’s life',
  check: (commit) => {
    for (const id of changedIds(commit, 'service')) {
      const service = commit.after.services.get(id)?.value;
      if (service === undefined) continue;
      const before = commit.before.services.get(id)?.value;
      if (before !== undefined && before.vip !== service.vip)
        return `${id} had ${before.vip} and now has ${service.vip}`;
      for (const [otherId, { value: other }] of commit.after.services) {
        if (otherId === id) continue;
        if (other.vip === service.vip) return `${id} and ${otherId} both have ${service.vip}`;
        const ports = new Set(other.ports.map(({ published, protocol }) => `${String(published)}/${protocol}`));
        const shared = service.ports.find(({ published, protocol }) => ports.has(`${String(published)}/${protocol}`));
        if (shared !== undefined) return `${id} and ${otherId} both publish ${String(shared.published)}`;
      }
    }
    return undefined;
  },
};

/** In the order in which they are asked. */
export const commitProperties: readonly Property<Commit>[] = [
  slotWantedOnce,
  placedWithinCapacity,
  placedOnActiveNodes,
  tasksOnlyAdvance,
  endsAreFinal,
  noStatusWithoutTask,
  vipsAreUnique,
];

/** The process of a task has just been started. */
export interface Started {
  readonly taskId: string;
  readonly nodeId: string;
  readonly stored: Snapshot;
  /** Epochs, of its agent: of the controller that spoke to it last, and the largest it has ever been told. */
  readonly epochs: { readonly told: number; readonly largest: number };
  /** A controller has told this run of the agent all that it is to have. */
  readonly confirmed: boolean;
  /** Of an attempt that the node made by itself: the ids it replaces, the latest first, last the one that it was assigned. */
  readonly replaces: readonly string[] | undefined;
  /** Ids of the tasks whose processes run on this node now. */
  readonly beside: readonly string[];
  /** Starts of this task before this one, on disks that kept what they promised. */
  readonly earlierStarts: number;
  /** Ids of the tasks whose processes run now, on all nodes that have power. */
  readonly running: readonly string[];
  /** Every task that was ever stored. */
  readonly known: ReadonlyMap<string, Task>;
  /** By task: those that it may start beside. */
  readonly companions: ReadonlyMap<string, readonly string[]>;
}

export const startedOnce: Property<Started> = {
  name: 'started-once',
  why: 'a task is one attempt: a process that is started again is another attempt, which only the plan may decide on',
  check: ({ taskId, earlierStarts }) => (earlierStarts === 0 ? undefined : `${taskId} was started before`),
};

export const startedWhenConfirmed: Property<Started> = {
  name: 'started-when-confirmed',
  why: 'a journal may be old: what it says was wanted may run elsewhere by now',
  check: ({ taskId, nodeId, confirmed, replaces }) =>
    confirmed || replaces !== undefined
      ? undefined
      : `${taskId} was started on ${nodeId} before a controller had confirmed anything`,
};

export const startedWherePlaced: Property<Started> = {
  name: 'started-where-placed',
  why: 'a node runs what was decided for it, nothing else',
  check: ({ taskId, nodeId, known, replaces }) => {
    const task = known.get(taskId) ?? known.get(replaces?.at(-1) ?? '');
    if (task === undefined) return `${taskId} was started on ${nodeId}, and nobody ever decided that it exist`;
    return task.nodeId === nodeId
      ? undefined
      : `${taskId} was started on ${nodeId}, but belongs to ${String(task.nodeId)}`;
  },
};

export const ownAttemptsReplaceWhatEnded: Property<Started> = {
  name: 'own-attempts-replace-what-ended',
  why: 'a node that is cut off goes on with what it was given, one task at a time, and never with a fenced slot',
  check: ({ taskId, nodeId, known, replaces, beside }) => {
    if (replaces === undefined) return undefined;
    const fenced = replaces.find((id) => known.get(id)?.template.fenceLeaseMs !== undefined);
    if (fenced !== undefined) return `${nodeId} started ${taskId} by itself in the place of ${fenced}, which is fenced`;
    const still = replaces.find((id) => beside.includes(id));
    return still === undefined ? undefined : `${nodeId} started ${taskId} by itself while ${still} runs`;
  },
};

export const slotRunsOnce: Property<Started> = {
  name: 'slot-runs-once',
  why: 'a replacement starts only when what it replaces has ended, or was given up with its node',
  check: ({ taskId, running, known, stored, companions }) => {
    const task = known.get(taskId);
    // A node that was given up goes on with what it was told last; only a fenced slot may not do that.
    if (task === undefined || isGivenUp(stored, taskId)) return undefined;
    for (const id of running) {
      const other = known.get(id);
      if (id === taskId || other === undefined || !sameSlot(task, other)) continue;
      if (isGivenUp(stored, id) || companions.get(taskId)?.includes(id) === true) continue;
      return `${task.stack}/${slotName(task.service, task.slot)} was started as ${taskId} while ${id} runs`;
    }
    return undefined;
  },
};

export const fencedSlotRunsOnce: Property<Started> = {
  name: 'fenced-slot-runs-once',
  why: 'the one promise of a fenced slot: whatever is lost, cut, frozen or killed, no two of its containers run at a time',
  check: ({ taskId, running, known }) => {
    const task = known.get(taskId);
    if (task?.template.fenceLeaseMs === undefined) return undefined;
    for (const id of running) {
      const other = known.get(id);
      // One of the time before the slot was declared fenced promised nothing.
      if (id === taskId || other?.template.fenceLeaseMs === undefined || !sameSlot(task, other)) continue;
      return `${task.stack}/${slotName(task.service, task.slot)} was started as ${taskId} on ${String(task.nodeId)} while ${id} runs on ${String(other.nodeId)}`;
    }
    return undefined;
  },
};

export const staleEpochStartsNothing: Property<Started> = {
  name: 'stale-epoch-starts-nothing',
  why: 'a controller that was replaced may want what its successor has decided against',
  check: ({ taskId, nodeId, epochs: { told, largest } }) =>
    told >= largest || told === 0
      ? undefined
      : `${taskId} was started on ${nodeId} by a controller of epoch ${String(told)}; the node has seen epoch ${String(largest)}`,
};

/** Its record says so, or is gone with its slot. */
function isGivenUp(stored: Snapshot, taskId: string): boolean {
  const record = stored.tasks.get(taskId)?.value;
  return record === undefined || record.orphaned === true;
}

export const startProperties: readonly Property<Started>[] = [
  startedOnce,
  startedWhenConfirmed,
  startedWherePlaced,
  ownAttemptsReplaceWhatEnded,
  slotRunsOnce,
  fencedSlotRunsOnce,
  staleEpochStartsNothing,
];

/** A task's process is being sent its stop signal. */
export interface Signalled {
  readonly taskId: string;
  readonly stored: Snapshot;
  /** Since the store has it as no longer wanted; undefined: it is wanted still, or its record is gone. */
  readonly unwantedForMs: number | undefined;
  /** Nodes with power that the leader hears and that lead to it now, by name. */
  readonly ledToBy: readonly string[];
}

export const leavesBeforeItStops: Property<Signalled> = {
  name: 'leaves-before-it-stops',
  why: 'a task that is told to stop while names and ports still lead to it loses the requests that come meanwhile',
  check: ({ taskId, stored, unwantedForMs, ledToBy }) => {
    // Who does not answer is waited for so long and no longer; what was given up with its node is not waited for at all.
    if (unwantedForMs === undefined || unwantedForMs >= drainConfirmWithinMs || isGivenUp(stored, taskId))
      return undefined;
    if (ledToBy.length === 0) return undefined;
    return `${taskId} is told to stop ${unwantedForMs.toFixed(0)} ms after it was not wanted any more, and ${ledToBy.join(', ')} still lead to it`;
  },
};

export const signalProperties: readonly Property<Signalled>[] = [leavesBeforeItStops];

/** A node's traffic goes where `applied` says from now on. */
export interface Enforced {
  readonly node: string;
  /** What the controller, or for its own tasks the node, wants of it. */
  readonly desired: DesiredNetwork;
  readonly applied: DesiredNetwork;
}

export const lastEndpointStays: Property<Enforced> = {
  name: 'last-endpoint-stays',
  why: 'who judges by himself may be wrong: he takes away only, and never the last that a service has',
  check: ({ node, desired, applied }) => {
    for (const [index, unit] of desired.services.entries()) {
      const led = applied.services[index]?.endpoints ?? [];
      if (led.length === 0 && unit.endpoints.length > 0) return `${node} leads nowhere for ${unit.stack}/${unit.name}`;
      const added = led.find(({ taskId }) => !unit.endpoints.some((endpoint) => endpoint.taskId === taskId));
      if (added !== undefined) return `${node} leads to ${added.taskId}, which nobody told it to`;
    }
    return undefined;
  },
};

export const enforceProperties: readonly Property<Enforced>[] = [lastEndpointStays];
