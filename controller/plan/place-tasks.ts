/** Pending tasks whose back-off is over get nodes; the others keep their reasons and are tried again in each pass. */
import { anywhere } from '../../proto/domain/placement.ts';
import type { TaskTemplate } from '../../proto/domain/service.ts';
import { openRooms, reserve } from '../schedule/rooms.ts';
import type { Room } from '../schedule/rooms.ts';
import { openPlacing, place, placeOn } from '../schedule/place.ts';
import type { PlacementRequest, Placing } from '../schedule/place.ts';
import { openRoomIndex } from '../schedule/room-index.ts';
import type { RoomIndex } from '../schedule/room-index.ts';
import { nodesToAvoid } from '../schedule/scores/rejections.ts';
import type { Rejection } from '../schedule/scores/rejections.ts';
import { isLive, isWanted, stateOf, tasksOf } from './draft.ts';
import type { Draft, DraftService, DraftTask } from './draft.ts';
import { namedVolumes } from './named-volumes.ts';
import { nodesWithVolumes, pinPlaced } from './pins.ts';
import { quickFailureMs, waitsUntil } from '../../proto/domain/restart-policy.ts';
import { templateInForce } from './rollout-policy.ts';
import { nodeOfSlot } from './wanted-slots.ts';

/** Tasks of one service with one template that can be placed now: they are placed together. */
interface Batch {
  readonly service: DraftService;
  readonly tasks: readonly DraftTask[];
  readonly oldestMs: number;
}

/** What is left on each node, for all batches of a pass. */
interface Nodes {
  readonly rooms: ReadonlyMap<string, Room>;
  readonly list: readonly Room[];
  readonly index: RoomIndex;
}

export function placeTasks(draft: Draft): void {
  const batches = draft.moving.flatMap((service) => batchesOf(draft, service));
  if (batches.length === 0) return;
  // Who has waited longest comes first, so that no service starves behind another's name.
  batches.sort((a, b) => a.oldestMs - b.oldestMs || (a.service.id < b.service.id ? -1 : 1));
  const rooms = occupiedRooms(draft);
  const nodes: Nodes = { rooms, list: [...rooms.values()], index: openRoomIndex(rooms) };
  for (const batch of batches) placeBatch(draft, nodes, batch);
}

function batchesOf(draft: Draft, service: DraftService): readonly Batch[] {
  const byTemplate = new Map<string, DraftTask[]>();
  for (const task of pendingTasks(draft, service)) {
    const same = byTemplate.get(task.task.templateHash);
    if (same === undefined) byTemplate.set(task.task.templateHash, [task]);
    else same.push(task);
  }
  return [...byTemplate.values()].map((tasks) => {
    const oldestMs = tasks.reduce((oldest, { task }) => Math.min(oldest, task.createdAtMs), Infinity);
    return { service, tasks, oldestMs };
  });
}

function pendingTasks(draft: Draft, service: DraftService): DraftTask[] {
  const pending: DraftTask[] = [];
  for (const task of tasksOf(service)) {
    if (task.task.nodeId !== undefined || !isWanted(task)) continue;
    const dueMs = waitsUntil(task.task, draft.input.now.wallMs);
    if (service.waitsFor !== undefined) {
      draft.reasons.set(task.task.id, service.waitsFor);
    } else if (dueMs === undefined) {
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
  if (service.declared?.spec.restart.delayMs !== undefined) return `waits ${seconds} s, its restart policy's delay`;
  const within = String(quickFailureMs / 1_000);
  const waits = `waits ${seconds} s: the last ${String(task.quickFailures)} attempts ended within ${within} s of their start`;
  const previous = service.slots
    .get(task.slot)
    ?.findLast((other) => other.task.attempt < task.attempt && !other.deleted);
  const why = previous?.status?.reason;
  return why === undefined ? waits : `${waits} (the last one: ${why})`;
}

/** Every task that may still be on its node holds what it reserved there. */
function occupiedRooms(draft: Draft): ReadonlyMap<string, Room> {
  const { nodes, facts } = draft.snapshot;
  const rooms = openRooms(
    [...nodes.values()].map(({ value: node }) => ({
      node,
      facts: facts.get(node.id),
      state: draft.input.liveness.get(node.id)?.state,
      notAccepting: draft.input.liveness.get(node.id)?.notAccepting,
    })),
  );
  for (const { value: task } of draft.resting) {
    const room = task.desired === 'running' ? rooms.get(task.nodeId ?? '') : undefined;
    if (room !== undefined) reserve(room, task.template.reservations);
  }
  for (const service of draft.moving) {
    for (const task of tasksOf(service)) {
      const { nodeId, template } = task.task;
      const room = nodeId === undefined || !isLive(task) ? undefined : rooms.get(nodeId);
      if (room !== undefined) reserve(room, template.reservations);
    }
  }
  return rooms;
}

function placeBatch(draft: Draft, nodes: Nodes, { service, tasks }: Batch): void {
  const { template } = tasks[0]?.task ?? {};
  if (template === undefined) return;
  const placing = openPlacing({
    reservations: template.reservations,
    placement: service.declared?.spec.placement ?? anywhere,
    wantedOnNode: slotsPerNode(service),
    liveOnNode: countPerNode(service, isLive),
  });
  const placeOf = fixedPlaces(draft, service, template);
  const free: DraftTask[] = [];
  for (const task of tasks) {
    const fixed = placeOf(task.task.slot);
    if (fixed === undefined) free.push(task);
    else placeFixed(draft, nodes.rooms, placing, task, fixed);
  }
  if (free.length > 0) placeFree(draft, nodes, placing, service, free);
  pinPlaced(service, tasks);
}

/** The one node that a slot can be on. */
interface FixedPlace {
  readonly nodeId: string;
  /** What is wrong with the node is said after it: `volume shop_data of slot 1 is on node n2, which`. */
  readonly because: string;
}

function fixedPlaces(
  draft: Draft,
  service: DraftService,
  template: TaskTemplate,
): (slot: number) => FixedPlace | undefined {
  if (service.declared?.spec.mode === 'global') {
    return (slot) => {
      const node = nodeOfSlot(draft, slot);
      return node && { nodeId: node.id, because: `node ${node.name}` };
    };
  }
  const pins = new Map(service.record?.pins.map(({ slot, nodeId }) => [slot, nodeId]));
  const volumes = namedVolumes(template);
  const [what, are] = volumes.length === 1 ? ['volume', 'is'] : ['volumes', 'are'];
  return (slot) => {
    const nodeId = pins.get(slot);
    if (nodeId === undefined) return undefined;
    const name = draft.snapshot.nodes.get(nodeId)?.value.name ?? nodeId;
    return { nodeId, because: `${what} ${volumes.join(', ')} of slot ${String(slot)} ${are} on node ${name}, which` };
  };
}

function placeFixed(
  draft: Draft,
  rooms: ReadonlyMap<string, Room>,
  placing: Placing,
  task: DraftTask,
  { nodeId, because }: FixedPlace,
): void {
  const room = rooms.get(nodeId);
  const unfit = room === undefined ? 'has left the cluster' : placeOn(room, placing);
  if (unfit === undefined) task.task = { ...task.task, nodeId };
  else draft.reasons.set(task.task.id, `${because} ${unfit}`);
}

function placeFree(
  draft: Draft,
  { list, index }: Nodes,
  placing: Placing,
  service: DraftService,
  tasks: readonly DraftTask[],
): void {
  const request: PlacementRequest = {
    count: tasks.length,
    prefer: nodesWithVolumes(draft, service),
    haveImage: new Set(draft.input.spares?.get(service.id)?.nodeIds),
    avoid: nodesToAvoid(rejectionsOf(service), draft.input.now.wallMs),
  };
  const { nodeIds, reason } = place(list, placing, request, index);
  tasks.forEach((task, at) => {
    const nodeId = nodeIds[at];
    if (nodeId !== undefined) task.task = { ...task.task, nodeId };
    else if (reason !== undefined) draft.reasons.set(task.task.id, reason);
  });
}

/** Of each slot the newest: where another still runs until that does, it will soon be gone from its node. */
function slotsPerNode(service: DraftService): Map<string, number> {
  const newest = new Set([...service.slots.values()].map((tasks) => tasks.findLast(isWanted)));
  return countPerNode(service, (task) => newest.has(task));
}

function countPerNode(service: DraftService, counts: (task: DraftTask) => boolean): Map<string, number> {
  const perNode = new Map<string, number>();
  for (const task of tasksOf(service)) {
    const { nodeId } = task.task;
    if (nodeId !== undefined && counts(task)) perNode.set(nodeId, (perNode.get(nodeId) ?? 0) + 1);
  }
  return perNode;
}

function rejectionsOf(service: DraftService): readonly Rejection[] {
  const rejections: Rejection[] = [];
  const goal = templateInForce(service)?.templateHash;
  for (const task of tasksOf(service)) {
    const { nodeId, templateHash } = task.task;
    if (nodeId === undefined || templateHash !== goal || task.status === undefined) continue;
    if (stateOf(task) === 'rejected') rejections.push({ nodeId, atMs: task.status.sinceMs });
  }
  return rejections;
}
