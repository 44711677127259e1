/** The latest attempt that failed in each slot that is not as declared: what a person wants to read the last lines of. */
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { RestartPolicy } from '../../proto/domain/service.ts';
import { taskState } from '../../proto/domain/task.ts';
import type { Task, TaskStatus } from '../../proto/domain/task.ts';
import type { FailedAttempt } from '../../proto/domain/views.ts';
import { attemptsBySlot, comparisonWith, nodeNameOf } from './attempts.ts';
import { isSettled } from './converged.ts';
import { isReplaced } from '../../proto/domain/restart-policy.ts';
import { templateOf } from './rollout-policy.ts';
import type { Snapshot } from './snapshot.ts';
import { endText } from './task-failure.ts';
import { wantedSlotsOf } from './wanted-slots.ts';

/**
 * By service and slot. `settling`: services whose running tasks are not relied on yet. Attempts with another template than the declared one and the one in
 * force are history.
 */
export function failedAttempts(
  snapshot: Snapshot,
  liveness: ReadonlyMap<string, NodeLiveness>,
  stack: string,
  settling: readonly string[],
): readonly FailedAttempt[] {
  const attempts = attemptsBySlot(snapshot, stack);
  const services = snapshot.stacks.get(stack)?.value.spec.services ?? [];
  return services.flatMap((spec) => {
    const slots = attempts.get(spec.name) ?? new Map<number, readonly Task[]>();
    const record = snapshot.services.get(serviceId(stack, spec.name))?.value;
    const isDeclared = comparisonWith(spec.template);
    const isInForce = comparisonWith(templateOf(spec, record));
    const isHeld = (slot: number): boolean => slots.get(slot)?.some((task) => task.desired === 'running') === true;
    return [...wantedSlotsOf(snapshot, liveness, spec, isHeld)].flatMap((slot) => {
      const tasks = slots.get(slot) ?? [];
      const statusOf = (task: Task): TaskStatus | undefined => snapshot.statuses.get(task.id);
      const settles = (task: Task): boolean =>
        task.desired === 'running' && isDeclared(task) && isSettled(spec.restart, task, statusOf(task));
      if (!settling.includes(spec.name) && tasks.some(settles)) return [];
      const failed = tasks.findLast(
        (task) => (isDeclared(task) || isInForce(task)) && hasFailed(spec.restart, task, statusOf(task)),
      );
      return failed === undefined ? [] : [told(snapshot, failed)];
    });
  });
}

/** By itself, or for its health; an end that was ordered, or that its node's loss brought, is none of its own doing. */
function hasFailed(restart: RestartPolicy, task: Task, status: TaskStatus | undefined): boolean {
  if (task.unhealthyAtMs !== undefined) return true;
  const state = taskState(task, status);
  if (state === 'running') return status?.health === 'unhealthy';
  return state === 'failed' || state === 'rejected' || (state === 'complete' && isReplaced(restart, task, status));
}

function told(snapshot: Snapshot, task: Task): FailedAttempt {
  const status = snapshot.statuses.get(task.id);
  const unhealthy = task.unhealthyAtMs === undefined ? undefined : task.desiredReason;
  return {
    service: task.service,
    slot: task.slot,
    taskId: task.id,
    node: nodeNameOf(snapshot, task),
    started: status?.startedAtMs !== undefined,
    reason: unhealthy ?? (status === undefined ? taskState(task, status) : endText(status)),
  };
}
