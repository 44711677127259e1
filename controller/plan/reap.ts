/** Ended tasks are history: the last few of each slot are kept for people, the others and those of slots no longer wanted go. */
import { isEnded } from '../../proto/domain/task.ts';
import { stateOf } from './draft.ts';
import type { Draft, DraftService, DraftTask } from './draft.ts';
import { endedTasksKeptPerSlot } from './slot-history.ts';
import { nodeOfSlot, wantedSlots } from './wanted-slots.ts';

export function reap(draft: Draft): void {
  for (const service of draft.moving) {
    for (const [slot, tasks] of service.slots)
      reapSlot(tasks, hasHistory(draft, service, slot) ? endedTasksKeptPerSlot : 0);
  }
}

/** A global service's slot is its node's, also while the node is lost or drained. */
function hasHistory(draft: Draft, service: DraftService, slot: number): boolean {
  if (wantedSlots(draft, service).has(slot)) return true;
  return service.declared?.spec.mode === 'global' && nodeOfSlot(draft, slot) !== undefined;
}

/** Tasks come oldest first. One that ended but still holds its slot (its policy wants no other) is no history. */
function reapSlot(tasks: readonly DraftTask[], keep: number): void {
  const ended = tasks.filter((task) => !task.deleted && task.task.desired !== 'running' && isEnded(stateOf(task)));
  const placed = ended.filter((task) => task.task.nodeId !== undefined);
  for (const task of ended) task.deleted = true;
  for (const task of placed.slice(Math.max(0, placed.length - keep))) task.deleted = false;
}
