/** Ended tasks are history: the last few of each slot are kept for people, the others and those of slots no longer wanted go. */
import { isEnded } from '../../proto/domain/task.ts';
import { stateOf } from './draft.ts';
import type { Draft, DraftTask } from './draft.ts';

/** Enough to see a pattern in `frota ps --all`; Swarm's default is 5 with the running one. */
export const endedTasksKeptPerSlot = 4;

export function reap(draft: Draft): void {
  for (const service of draft.services.values()) {
    const replicas = service.declared?.spec.replicas ?? 0;
    for (const [slot, tasks] of service.slots) reapSlot(tasks, slot <= replicas ? endedTasksKeptPerSlot : 0);
  }
}

/** Tasks come oldest first. One that ended but still holds its slot (its policy wants no other) is no history. */
function reapSlot(tasks: readonly DraftTask[], keep: number): void {
  const ended = tasks.filter((task) => !task.deleted && task.task.desired !== 'running' && isEnded(stateOf(task)));
  const placed = ended.filter((task) => task.task.nodeId !== undefined);
  for (const task of ended) task.deleted = true;
  for (const task of placed.slice(Math.max(0, placed.length - keep))) task.deleted = false;
}
