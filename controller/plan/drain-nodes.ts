/**
 * Drained nodes give up what they have, and nodes that a service's constraints no longer allow what they have of it: each task's replacement runs elsewhere before it goes, so many at a time as the
 * service's update policy says. A task that holds a volume of the node is stopped and its slot waits there; a fenced one is stopped before
 * its replacement is made, no more of them at a time either; a global service's slots are not wanted on such a node at all.
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
  const fenced: DraftTask[] = [];
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
      if (serves(draft, holder) && !isPinned(service, holder.task)) fenced.push(holder);
      else retire(holder, whyLeaves(draft, service, inForce, holder) ?? '');
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
  stopFirst(draft, service, inForce, fenced, parallelism);
}

/** Those that may not run beside their replacement: so many slots as `parallelism` says may have left such a node and not serve elsewhere yet. */
function stopFirst(
  draft: Draft,
  service: DraftService,
  inForce: Declaration,
  holders: readonly DraftTask[],
  parallelism: number,
): void {
  if (holders.length === 0) return;
  const away = [...wantedSlots(draft, service)].filter((slot) => {
    const tasks = service.slots.get(slot) ?? [];
    const left = tasks.some((task) => whyLeaves(draft, service, inForce, task) !== undefined);
    return left && !tasks.some((task) => serves(draft, task));
  });
  const free = parallelism === 0 ? holders.length : Math.max(0, parallelism - away.length);
  for (const holder of holders.slice(0, free)) retire(holder, whyLeaves(draft, service, inForce, holder) ?? '');
  for (const holder of holders.slice(free)) {
    draft.reasons.set(
      holder.task.id,
      `leaves its node once another slot of ${service.name} serves again: ${String(away.length + free)} left theirs before it, and no more may at a time (parallelism ${String(parallelism)})`,
    );
  }
}
