/** When an ended task is replaced in its slot, and how long the replacement waits. */
import type { RestartPolicy } from '../../proto/domain/service.ts';
import type { Task, TaskState, TaskStatus } from '../../proto/domain/task.ts';

/** A task that ended sooner than this after its start ended quickly: its next replacement waits longer. */
export const quickFailureMs = 10_000;
/** Wait after the second quick end in a row; the first is replaced at once, since most causes have gone by then. */
export const firstDelayMs = 1_000;
/** Longest wait: a broken service costs its nodes one start each half minute, and is back soon once repaired. */
export const maxDelayMs = 30_000;

/** What a replacement takes over from its predecessor. */
export interface Succession {
  readonly attempt: number;
  readonly quickFailures: number;
  readonly restarts: number;
  readonly notBeforeMs?: number;
}

/** Of the first task of a slot. */
export const noPredecessor: Succession = { attempt: 0, quickFailures: 0, restarts: 0 };

/**
 * Whether a wanted task that ended is replaced. `shutdown` here is an end that nobody ordered (an agent that stopped its
 * containers), so it is no exit: only `none` leaves it.
 */
export function isReplaced(policy: RestartPolicy, task: Task, state: TaskState): boolean {
  if (policy.condition === 'none') return false;
  if (!endedByItself(state)) return true;
  if (policy.condition === 'on-failure' && state === 'complete') return false;
  return policy.maxAttempts === undefined || task.restarts < policy.maxAttempts;
}

/** A replacement with the same template as its ended predecessor. */
export function succeed(task: Task, state: TaskState, status: TaskStatus | undefined, nowMs: number): Succession {
  const attempt = task.attempt + 1;
  if (!endedByItself(state)) return { attempt, quickFailures: 0, restarts: task.restarts };
  const quickFailures = endedQuickly(state, status) ? task.quickFailures + 1 : 0;
  const delayMs = delayAfter(quickFailures);
  const succession = { attempt, quickFailures, restarts: task.restarts + 1 };
  return delayMs === 0 ? succession : { ...succession, notBeforeMs: nowMs + delayMs };
}

/** A replacement with a new template has no failures behind it, only attempts. */
export function succeedWithNewTemplate(task: Task): Succession {
  return { attempt: task.nodeId === undefined ? task.attempt : task.attempt + 1, quickFailures: 0, restarts: 0 };
}

/** Wait before the replacement, after so many quick ends in a row: 0, then 1 s, 2 s, 4 s … `maxDelayMs`. */
export function delayAfter(quickFailures: number): number {
  return quickFailures <= 1 ? 0 : Math.min(maxDelayMs, firstDelayMs * 2 ** (quickFailures - 2));
}

/**
 * When a pending task may be placed, wall time; undefined: now. A clock that was set back to before the task's creation
 * says nothing about how long it has waited, so it then waits no more; nor ever longer than `maxDelayMs`.
 */
export function waitsUntil(task: Task, nowMs: number): number | undefined {
  if (task.notBeforeMs === undefined || nowMs < task.createdAtMs) return undefined;
  const dueMs = Math.min(task.notBeforeMs, task.createdAtMs + maxDelayMs);
  return nowMs < dueMs ? dueMs : undefined;
}

const endedByItself = (state: TaskState): boolean => state === 'complete' || state === 'failed' || state === 'rejected';

function endedQuickly(state: TaskState, status: TaskStatus | undefined): boolean {
  if (state === 'rejected' || status?.startedAtMs === undefined) return true;
  return (status.finishedAtMs ?? status.sinceMs) - status.startedAtMs < quickFailureMs;
}
