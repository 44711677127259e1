/** What must hold whenever something happens on a machine: a process starts, is told to stop, or traffic is led elsewhere. */
import { slotName } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import type { DesiredNetwork } from '../../agent/network/network.ts';
import type { Snapshot } from '../../controller/plan/snapshot.ts';
import { drainConfirmWithinMs } from '../../controller/dispatch/drains.ts';
import { sameSlot } from './properties.ts';
import type { Property } from './properties.ts';

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
