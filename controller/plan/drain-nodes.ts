/**
 * Drained nodes give up what they have, and nodes that a service's constraints no longer allow what they have of it: each task's replacement runs elsewhere before it goes, so many at a time as the
 * service's update policy says. A task that holds a volume of the node is stopped and its slot waits there; a fenced one is stopped before
 * its replacement is made; a global
 * service's slots are not wanted on such a node at all.
 */
import { isWanted, retire, stateOf } from './draft.ts';
import type { Declaration, Draft, DraftService, DraftTask } from './draft.ts';
import { retryBeside, startBeside } from './replace-task.ts';
import { policyInForce, templateInForce } from './rollout-policy.ts';
import { isPinned, serves, startsFirst, whyLeaves } from './slot-holders.ts';
import { attemptAfter } from './slot-progress.ts';
import { wantedSlots } from './wanted-slots.ts';

export function drainNodes(draft: Draft): void {
  const someDrained = [...draft.snapshot.nodes.values()].some(({ value }) => value.availability === 'drain');
  for (const service of draft.moving) {
    const inForce = templateInForce(service);
    if (inForce === undefined || !(someDrained || inForce.spec.placement.constraints.length > 0)) continue;
    drainService(draft, service, inForce);
  }
}

interface Move {
  readonly tasks: readonly DraftTask[];
  readonly holder: DraftTask;
}

function drainService(draft: Draft, service: DraftService, inForce: Declaration): void {
  const waiting: Move[] = [];
  let underWay = 0;
  for (const slot of wantedSlots(draft, service)) {
    const tasks = service.slots.get(slot) ?? [];
    const holder = tasks.find((task) => isWanted(task) && whyLeaves(draft, service, inForce, task) !== undefined);
    if (holder === undefined) continue;
    if (
      !startsFirst(draft, service, inForce, holder) ||
      isPinned(service, holder.task) ||
      stateOf(holder) !== 'running'
    ) {
      // It serves nobody yet, can't run anywhere else, or may not run beside another.
      retire(holder, whyLeaves(draft, service, inForce, holder) ?? '');
      continue;
    }
    if (!serves(draft, holder)) continue;
    const attempt = attemptAfter(holder, inForce, tasks);
    if (attempt === undefined) {
      waiting.push({ tasks, holder });
    } else {
      underWay += 1;
      retryBeside(draft, service, inForce, attempt);
    }
  }
  const { parallelism } = policyInForce(inForce.spec, service.record?.rollout);
  const free = parallelism === 0 ? waiting.length : Math.max(0, parallelism - underWay);
  for (const { tasks, holder } of waiting.slice(0, free)) startBeside(draft, service, inForce, tasks, holder);
}
