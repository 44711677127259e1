/**
 * PURE: what becomes of a task of this node that has ended while no controller can be reached. The same restart policy decides as
 * in the controller's plan, on this host's clock.
 */
import { mayRestartAlone } from '../../proto/domain/assignment.ts';
import type { AssignedTask, RestartRule } from '../../proto/domain/assignment.ts';
import { isReplaced, succeed } from '../../proto/domain/restart-policy.ts';
import type { Attempt } from '../../proto/domain/restart-policy.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import type { TaskEnd } from './task-step.ts';

/** A task that this node is still to run, and that has ended. Wall times of this host. */
export interface EndedTask {
  /** As it is wanted now. */
  readonly assigned: AssignedTask;
  /** When this node was given it, or made it. */
  readonly acceptedAtMs: number;
  readonly startedAtMs?: number;
  readonly end: TaskEnd;
}

export type LocalRestart =
  /** Its policy, or that it is fenced, leaves its slot as it is. */
  | { readonly kind: 'none' }
  | { readonly kind: 'wait'; readonly untilMs: number }
  /** `rule`: of the attempt that takes its place. */
  | { readonly kind: 'replace'; readonly rule: RestartRule };

/** What a controller is told of an attempt that this node made. Wall times of this host. */
export interface LocalAttempt {
  /** Ids: the latest first, last the one that this node was assigned. */
  readonly replaces: readonly string[];
  readonly createdAtMs: number;
  readonly attempt: number;
  readonly quickFailures: number;
  readonly restarts: number;
  readonly restartedAtMs: readonly number[];
}

/**
 * The latest ones, because a controller may have heard of them just before the link was cut again, and the assigned one. What
 * lies between them no controller has ever heard of.
 */
const latestPredecessors = 8;

export function localRestart(task: EndedTask, nowMs: number): LocalRestart {
  const { restart } = task.assigned;
  if (restart === undefined || !mayRestartAlone(task.assigned)) return { kind: 'none' };
  const attempt = attemptOf(task, restart);
  const status = statusOf(task);
  if (!isReplaced(restart.policy, attempt, status)) return { kind: 'none' };
  const { finishedAtMs } = task.end;
  const from = succeed(restart.policy, attempt, status, finishedAtMs);
  // A clock that was set back says nothing of how long this has waited: it then waits no more.
  if (from.notBeforeMs !== undefined && nowMs >= finishedAtMs && nowMs < from.notBeforeMs) {
    return { kind: 'wait', untilMs: from.notBeforeMs };
  }
  const { quickFailures, restarts, restartedAtMs } = from;
  const restartedBeforeMs = restartedAtMs.map((atMs) => Math.max(0, nowMs - atMs));
  return {
    kind: 'replace',
    rule: { policy: restart.policy, attempt: from.attempt, quickFailures, restarts, restartedBeforeMs },
  };
}

/** The same slot, template and service: all that is new is that it is another attempt. */
export const successorOf = (task: AssignedTask, id: string, restart: RestartRule): AssignedTask => ({
  ...task,
  id,
  desired: 'running',
  restart,
});

/** `earlier`: what the task itself has replaced; absent: it was assigned. */
export function replacedBy(taskId: string, earlier: readonly string[] = []): readonly string[] {
  const assigned = earlier.at(-1);
  if (assigned === undefined) return [taskId];
  return [taskId, ...earlier.slice(0, -1)].slice(0, latestPredecessors).concat(assigned);
}

export function localAttempt({
  assigned,
  acceptedAtMs,
  replaces,
}: Pick<EndedTask, 'assigned' | 'acceptedAtMs'> & { readonly replaces: readonly string[] }): LocalAttempt {
  const { attempt = 0, quickFailures = 0, restarts = 0, restartedBeforeMs = [] } = assigned.restart ?? {};
  const restartedAtMs = restartedBeforeMs.map((beforeMs) => acceptedAtMs - beforeMs);
  return { replaces, createdAtMs: acceptedAtMs, attempt, quickFailures, restarts, restartedAtMs };
}

function attemptOf({ acceptedAtMs }: EndedTask, rule: RestartRule): Attempt {
  const { attempt, quickFailures, restarts, restartedBeforeMs } = rule;
  return {
    ...{ nodeId: 'this', desired: 'running', createdAtMs: acceptedAtMs, attempt, quickFailures, restarts },
    restartedAtMs: restartedBeforeMs.map((beforeMs) => acceptedAtMs - beforeMs),
  };
}

function statusOf({ assigned, startedAtMs, end }: EndedTask): TaskStatus {
  const { state, finishedAtMs } = end;
  const started = startedAtMs === undefined ? {} : { startedAtMs };
  return { taskId: assigned.id, state, health: 'none', sinceMs: finishedAtMs, finishedAtMs, ...started };
}
