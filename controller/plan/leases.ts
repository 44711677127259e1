/**
 * Fenced tasks: one that is on a lost node may run there until its lease has ended, so its slot waits. What has been promised
 * to which node is known to `controller/dispatch`; none of it is stored: a controller that starts waits for a whole lease.
 */
import type { MonoMs } from '../../proto/base/clock.ts';
import { leaseEndsAfterMs } from '../../proto/domain/fencing.ts';
import type { TaskTemplate } from '../../proto/domain/service.ts';
import type { Task } from '../../proto/domain/task.ts';
import type { Change, Leases } from './snapshot.ts';

export const isFenced = ({ fenceLeaseMs }: TaskTemplate): boolean => fenceLeaseMs !== undefined;

/** For how long from now a task whose node is lost may run there; 0: it is over, or the task is not fenced. */
export function leaseLeftMs({ id, template }: Task, leases: Leases, nowMs: MonoMs): number {
  if (template.fenceLeaseMs === undefined) return 0;
  const answeredAtMs = Math.max(leases.leaderSinceMs, leases.answeredAtMs.get(id) ?? leases.leaderSinceMs);
  return Math.max(0, answeredAtMs + leaseEndsAfterMs(template.fenceLeaseMs) - nowMs);
}

/** Fenced tasks that a plan gives up with their node: from the moment this is decided nobody may answer for them again. */
export function givenUp(changes: readonly Change[]): readonly string[] {
  return changes.flatMap((change) =>
    change.kind === 'put-task' && change.task.orphaned === true && isFenced(change.task.template)
      ? [change.task.id]
      : [],
  );
}
