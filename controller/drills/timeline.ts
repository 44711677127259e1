/** What becomes of the tasks that ran when the fault came: followed from snapshot to snapshot, each moment noted once. */
import type { TaskRef } from '../../proto/domain/drill.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { isEnded, slotId, slotName, taskState, taskStateRank } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { runningTasks, taskRef } from './preflight.ts';

/** Moments are milliseconds since the fault. */
export interface Moments {
  readonly suspected?: number;
  readonly confirmed?: number;
  readonly committed?: number;
  readonly received?: number;
  readonly created?: number;
  readonly running?: number;
}

export interface Followed {
  readonly task: TaskRef;
  readonly isLost: boolean;
  readonly replacement?: TaskRef;
  readonly moments: Moments;
}

export interface Timeline {
  /** Of the node that is hurt; undefined for a drill that hurts none. */
  readonly nodeId: string | undefined;
  readonly suspected?: number;
  readonly confirmed?: number;
  /** The hurt node was heard again after it had been suspected. */
  readonly backAt?: number;
  /** By task id, every task that ran. */
  readonly followed: ReadonlyMap<string, Followed>;
}

export function beginTimeline(snapshot: Snapshot, nodeId: string | undefined): Timeline {
  const tasks = runningTasks(snapshot).map((task) => taskRef(snapshot, task));
  return { nodeId, followed: new Map(tasks.map((task) => [task.id, { task, isLost: false, moments: {} }])) };
}

/** As the picture is now, `atMs` after the fault. */
export function follow(
  timeline: Timeline,
  snapshot: Snapshot,
  liveness: ReadonlyMap<string, NodeLiveness>,
  atMs: number,
): Timeline {
  const state = timeline.nodeId === undefined ? undefined : liveness.get(timeline.nodeId)?.state;
  const suspected = timeline.suspected ?? (state !== undefined && state !== 'ready' ? atMs : undefined);
  const confirmed = timeline.confirmed ?? (state === 'down' || state === 'unreachable' ? atMs : undefined);
  const backAt = timeline.backAt ?? (suspected !== undefined && state === 'ready' ? atMs : undefined);
  const latest = latestBySlot(snapshot);
  const followed = new Map(
    [...timeline.followed].map(([id, each]) => [
      id,
      followTask(each, { snapshot, latest, atMs, timeline, suspected, confirmed }),
    ]),
  );
  return {
    nodeId: timeline.nodeId,
    followed,
    ...(suspected !== undefined && { suspected }),
    ...(confirmed !== undefined && { confirmed }),
    ...(backAt !== undefined && { backAt }),
  };
}

interface Look {
  readonly snapshot: Snapshot;
  readonly latest: ReadonlyMap<string, Task>;
  readonly atMs: number;
  readonly timeline: Timeline;
  readonly suspected: number | undefined;
  readonly confirmed: number | undefined;
}

function followTask(each: Followed, look: Look): Followed {
  const { snapshot, latest, atMs } = look;
  const record = snapshot.tasks.get(each.task.id)?.value;
  const isLost =
    each.isLost ||
    record === undefined ||
    record.desired !== 'running' ||
    isEnded(taskState(record, snapshot.statuses.get(record.id)));
  if (!isLost) return each;
  const successor = latest.get(slotName(each.task.service, each.task.slot));
  const replacing = successor !== undefined && successor.id !== each.task.id && successor.desired === 'running';
  const isOnHurtNode = record?.nodeId !== undefined && record.nodeId === look.timeline.nodeId;
  const known = isOnHurtNode && look.confirmed !== undefined;
  // A replacement that is replaced itself begins anew: what counts is the one that stays.
  const before = replacing && each.replacement?.id !== undefined && each.replacement.id !== successor.id;
  const { suspected, confirmed, ...rest } = each.moments;
  return {
    task: each.task,
    isLost,
    ...(replacing
      ? { replacement: taskRef(snapshot, successor) }
      : each.replacement && { replacement: each.replacement }),
    moments: {
      ...definedMoment('suspected', suspected ?? (known ? look.suspected : undefined)),
      ...definedMoment('confirmed', confirmed ?? (known ? look.confirmed : atMs)),
      ...(replacing ? replacementMoments(before ? {} : rest, successor, look) : rest),
    },
  };
}

function replacementMoments(before: Moments, successor: Task, { snapshot, atMs }: Look): Moments {
  const rank = taskStateRank(taskState(successor, snapshot.statuses.get(successor.id)));
  const reached = (state: 'accepted' | 'ready' | 'running'): number | undefined =>
    rank >= taskStateRank(state) && rank <= taskStateRank('running') ? atMs : undefined;
  return {
    ...definedMoment('committed', before.committed ?? (successor.nodeId === undefined ? undefined : atMs)),
    ...definedMoment('received', before.received ?? reached('accepted')),
    ...definedMoment('created', before.created ?? reached('ready')),
    ...definedMoment('running', before.running ?? reached('running')),
  };
}

const definedMoment = (name: keyof Moments, value: number | undefined): Moments =>
  value === undefined ? {} : { [name]: value };

/** The task that was made last. */
function latestBySlot(snapshot: Snapshot): ReadonlyMap<string, Task> {
  const latest = new Map<string, Task>();
  for (const { value: task } of snapshot.tasks.values()) {
    const key = slotId(task);
    const known = latest.get(key);
    if (known === undefined || task.attempt > known.attempt) latest.set(key, task);
  }
  return latest;
}

/** Who else has fallen silent: a drill does not go on in a cluster that has troubles of its own. */
export function strangerDown(
  snapshot: Snapshot,
  liveness: ReadonlyMap<string, NodeLiveness>,
  nodeId: string | undefined,
): string | undefined {
  for (const { value: node } of snapshot.nodes.values()) {
    const state = liveness.get(node.id)?.state;
    if (node.id !== nodeId && (state === 'down' || state === 'unreachable')) {
      return `node ${node.name}, which the drill spares, is ${state}`;
    }
  }
  return undefined;
}
