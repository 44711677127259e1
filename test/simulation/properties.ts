/** What must hold of every transaction, at the instant it is committed. An answer is what is wrong with it. */
import { isEnded, slotName, taskState, taskStateRank } from '../../proto/domain/task.ts';
import type { ServiceSpec } from '../../proto/domain/service.ts';
import type { Task, TaskState } from '../../proto/domain/task.ts';
import type { Snapshot } from '../../controller/plan/snapshot.ts';
import { replacedByItsNode } from '../../controller/dispatch/local-attempts.ts';
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
        // It has ended: its node, which is about to tell of that, has another in its place.
        if (other.desiredReason === replacedByItsNode) continue;
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
