/**
 * Running tasks whose template is not the declared one, or whose node is drained, are moved on: stop first, one slot of
 * a service at a time, the next only when all others run (Swarm's defaults). An update that fails therefore waits.
 */
import { taskStateRank } from '../../proto/domain/task.ts';
import type { Resources } from '../../proto/domain/resources.ts';
import { isLive, isWanted, latestOf, retire, stateOf } from './draft.ts';
import type { Declaration, Draft, DraftService, DraftTask } from './draft.ts';
import { isReplaced, waitsUntil } from './restart-policy.ts';
import { wantedSlots } from './wanted-slots.ts';

export function updateServices(draft: Draft): void {
  for (const service of draft.services.values()) {
    if (service.declared !== undefined) updateService(draft, service, service.declared);
  }
}

/** Where a slot is on its way. */
type SlotPhase =
  | { readonly kind: 'runs'; readonly holder: DraftTask }
  /** It ended as it should and stays so. */
  | { readonly kind: 'done' }
  /** Nothing fits it now. */
  | { readonly kind: 'waits-for-room' }
  /** It waits for a back-off, or has failed for good. */
  | { readonly kind: 'fails' }
  | { readonly kind: 'moves' };

function updateService(draft: Draft, service: DraftService, declared: Declaration): void {
  const phases: SlotPhase[] = [];
  const stale: DraftTask[] = [];
  for (const slot of wantedSlots(draft, service)) {
    const tasks = service.slots.get(slot) ?? [];
    const holder = tasks.find(isWanted);
    if (holder?.task.nodeId !== undefined && whyStale(draft, declared, holder) !== undefined) stale.push(holder);
    phases.push(phaseOf(draft, declared, tasks, holder));
  }
  if (stale.length === 0) return;
  const running = new Set(phases.flatMap((phase) => (phase.kind === 'runs' ? [phase.holder] : [])));
  for (const task of stale) {
    // What does not run serves nobody: it makes way at once.
    if (!hasRun(task)) retire(task, whyStale(draft, declared, task) ?? '');
  }
  const next = stale.find((task) => running.has(task) && mayStop(draft, declared, phases, task));
  if (next !== undefined) retire(next, whyStale(draft, declared, next) ?? '');
}

/** Why the task can't stay as it is; undefined if it can. */
function whyStale(draft: Draft, declared: Declaration, holder: DraftTask): string | undefined {
  if (holder.task.templateHash !== declared.templateHash) return `service ${holder.task.service} was updated`;
  const node = draft.snapshot.nodes.get(holder.task.nodeId ?? '')?.value;
  return node?.availability === 'drain' ? `node ${node.name} is drained` : undefined;
}

function phaseOf(
  draft: Draft,
  declared: Declaration,
  tasks: readonly DraftTask[],
  holder: DraftTask | undefined,
): SlotPhase {
  if (holder === undefined) return endedPhase(declared, tasks);
  const { nodeId } = holder.task;
  if (nodeId === undefined) {
    const waits = waitsUntil(holder.task, draft.input.now.wallMs) !== undefined;
    return { kind: waits ? 'fails' : 'waits-for-room' };
  }
  // A node that is not heard can't be relied on to run it, nor can it be told to stop it.
  const heard = draft.input.liveness.get(nodeId)?.state === 'ready';
  if (hasRun(holder) && heard && holder.status?.health !== 'unhealthy') return { kind: 'runs', holder };
  return { kind: 'moves' };
}

function endedPhase(declared: Declaration, tasks: readonly DraftTask[]): SlotPhase {
  const latest = latestOf(tasks);
  if (latest === undefined || tasks.some(isLive)) return { kind: 'moves' };
  const state = stateOf(latest);
  const done = state === 'complete' && !isReplaced(declared.spec.restart, latest.task, latest.status);
  return { kind: done ? 'done' : 'fails' };
}

/**
 * An update goes on only while every other slot runs. A drain is an order about the node, so failing slots
 * elsewhere do not hold it up, only one that is on its way does.
 */
function mayStop(draft: Draft, declared: Declaration, phases: readonly SlotPhase[], task: DraftTask): boolean {
  const drains = task.task.templateHash === declared.templateHash;
  // Slots without room were so before; where the new task fits into what the old one leaves, as many run as now.
  const node = draft.snapshot.nodes.get(task.task.nodeId ?? '')?.value;
  const leavesRoom =
    node?.availability === 'active' && isWithin(declared.spec.template.reservations, task.task.template.reservations);
  return phases.every((phase) => {
    if (phase.kind === 'runs' || phase.kind === 'done') return true;
    if (phase.kind === 'moves') return false;
    return drains || (phase.kind === 'waits-for-room' && leavesRoom);
  });
}

const isWithin = (need: Resources, room: Resources): boolean =>
  need.cpuMillis <= room.cpuMillis && need.memoryBytes <= room.memoryBytes;

const hasRun = (task: DraftTask): boolean => taskStateRank(stateOf(task)) >= taskStateRank('running');
