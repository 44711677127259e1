/** Pending tasks whose back-off is over get nodes; the others keep their reasons and are tried again in each pass. */
import type { Resources } from '../../proto/domain/resources.ts';
import { openRooms, reserve } from '../schedule/rooms.ts';
import type { Room } from '../schedule/rooms.ts';
import { place } from '../schedule/place.ts';
import { nodesToAvoid } from '../schedule/scores/rejections.ts';
import type { Rejection } from '../schedule/scores/rejections.ts';
import { isLive, isWanted, stateOf, tasksOf } from './draft.ts';
import type { Draft, DraftService, DraftTask } from './draft.ts';
import { quickFailureMs, waitsUntil } from './restart-policy.ts';

/** The tasks of one service that can be placed now: they share a template, so they are placed together. */
interface Batch {
  readonly service: DraftService;
  readonly tasks: readonly DraftTask[];
  readonly oldestMs: number;
}

export function placeTasks(draft: Draft): void {
  const batches: Batch[] = [];
  for (const service of draft.services.values()) {
    const tasks = pendingTasks(draft, service);
    if (tasks.length === 0) continue;
    const oldestMs = tasks.reduce((oldest, { task }) => Math.min(oldest, task.createdAtMs), Infinity);
    batches.push({ service, tasks, oldestMs });
  }
  if (batches.length === 0) return;
  // Who has waited longest comes first, so that no service starves behind another's name.
  batches.sort((a, b) => a.oldestMs - b.oldestMs || (a.service.id < b.service.id ? -1 : 1));
  const rooms = occupiedRooms(draft);
  for (const batch of batches) placeBatch(draft, rooms, batch);
}

function pendingTasks(draft: Draft, service: DraftService): DraftTask[] {
  const pending: DraftTask[] = [];
  for (const task of tasksOf(service)) {
    if (task.task.nodeId !== undefined || !isWanted(task)) continue;
    const dueMs = waitsUntil(task.task, draft.input.now.wallMs);
    if (dueMs === undefined) {
      pending.push(task);
    } else {
      draft.wakeAtMs = Math.min(draft.wakeAtMs ?? Infinity, dueMs);
      draft.reasons.set(task.task.id, whyItWaits(service, task, dueMs));
    }
  }
  return pending.sort((a, b) => a.task.slot - b.task.slot);
}

function whyItWaits(service: DraftService, { task }: DraftTask, dueMs: number): string {
  const seconds = String(Math.round((dueMs - task.createdAtMs) / 100) / 10);
  const within = String(quickFailureMs / 1_000);
  const waits = `waits ${seconds} s: the last ${String(task.quickFailures)} attempts ended within ${within} s of their start`;
  const previous = service.slots
    .get(task.slot)
    ?.findLast((other) => other.task.attempt < task.attempt && !other.deleted);
  const why = previous?.status?.reason;
  return why === undefined ? waits : `${waits} (the last one: ${why})`;
}

/** Every task that may still be on its node holds what it reserved there. */
function occupiedRooms(draft: Draft): readonly Room[] {
  const { nodes, facts } = draft.snapshot;
  const rooms = openRooms(
    [...nodes.values()].map(({ value: node }) => ({
      node,
      facts: facts.get(node.id),
      state: draft.input.liveness.get(node.id)?.state,
    })),
  );
  for (const service of draft.services.values()) {
    for (const { task } of liveTasks(service)) {
      const room = task.nodeId === undefined ? undefined : rooms.get(task.nodeId);
      if (room !== undefined) reserve(room, task.template.reservations);
    }
  }
  return [...rooms.values()];
}

function placeBatch(draft: Draft, rooms: readonly Room[], { service, tasks }: Batch): void {
  const reservations: Resources | undefined = tasks[0]?.task.template.reservations;
  if (reservations === undefined) return;
  const { nodeIds, reason } = place(rooms, {
    count: tasks.length,
    reservations,
    tasksOnNode: wantedPerNode(service),
    avoid: nodesToAvoid(rejectionsOf(service), draft.input.now.wallMs),
  });
  tasks.forEach((task, index) => {
    const nodeId = nodeIds[index];
    if (nodeId !== undefined) task.task = { ...task.task, nodeId };
    else if (reason !== undefined) draft.reasons.set(task.task.id, reason);
  });
}

function* liveTasks(service: DraftService): Iterable<DraftTask> {
  for (const task of tasksOf(service)) if (isLive(task)) yield task;
}

function wantedPerNode(service: DraftService): Map<string, number> {
  const counts = new Map<string, number>();
  for (const task of tasksOf(service)) {
    const { nodeId } = task.task;
    if (nodeId !== undefined && isWanted(task)) counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  }
  return counts;
}

function rejectionsOf(service: DraftService): readonly Rejection[] {
  const rejections: Rejection[] = [];
  for (const task of tasksOf(service)) {
    const { nodeId, templateHash } = task.task;
    if (nodeId === undefined || templateHash !== service.declared?.templateHash || task.status === undefined) continue;
    if (stateOf(task) === 'rejected') rejections.push({ nodeId, atMs: task.status.sinceMs });
  }
  return rejections;
}
