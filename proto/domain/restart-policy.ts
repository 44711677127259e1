/**
 * PURE: when an ended task is replaced in its slot, and how long the replacement waits. What it takes to decide is in the task's
 * record and its status, so that neither a restart of the controller nor one of the agent forgets an attempt. The controller's
 * plan decides so, and an agent that is cut off from every controller.
 */
import type { RestartPolicy } from './service.ts';
import { taskState } from './task.ts';
import type { Task, TaskState, TaskStatus } from './task.ts';
import { maxRestartDelayMs, maxRestartsInWindow } from './validate.ts';

/** A task that ended sooner than this after its start ended quickly: its next replacement waits longer. */
export const quickFailureMs = 10_000;
/** Wait after the second quick end in a row; the first is replaced at once, since most causes have gone by then. */
export const firstDelayMs = 1_000;
/** Longest growing wait: a broken service costs its nodes one start each half minute, and is back soon once repaired. */
export const maxDelayMs = 30_000;

/** What is asked of a task; both ends know it, each with times of its own clock. */
export type Attempt = Pick<
  Task,
  | 'nodeId'
  | 'desired'
  | 'orphaned'
  | 'unhealthyAtMs'
  | 'createdAtMs'
  | 'attempt'
  | 'quickFailures'
  | 'restarts'
  | 'restartedAtMs'
>;

/** What a replacement takes over from its predecessor. */
export interface Succession {
  readonly attempt: number;
  readonly quickFailures: number;
  readonly restarts: number;
  readonly restartedAtMs: readonly number[];
  readonly notBeforeMs?: number;
}

/** Of the first task of a slot. */
export const noPredecessor: Succession = { attempt: 0, quickFailures: 0, restarts: 0, restartedAtMs: [] };

/**
 * Whether a wanted task that ended is replaced. `shutdown` here is an end that nobody ordered (an agent that stopped its
 * containers), so it is no exit: only `none` leaves it. The answer stays the same for ever: what counts within a window
 * counts back from the task's end, as in SwarmKit, so a slot that was given up does not start again hours later.
 */
export function isReplaced(policy: RestartPolicy, task: Attempt, status: TaskStatus | undefined): boolean {
  if (policy.condition === 'none') return false;
  const state = taskState(task, status);
  if (!endedByItself(task, state)) return true;
  if (policy.condition === 'on-failure' && state === 'complete' && task.unhealthyAtMs === undefined) return false;
  if (policy.maxAttempts === undefined) return true;
  return attemptsBefore(policy, task, endedAt(task, status)) < policy.maxAttempts;
}

function attemptsBefore({ windowMs }: RestartPolicy, { restarts, restartedAtMs }: Attempt, endMs: number): number {
  if (windowMs === undefined) return restarts;
  return restartedAtMs.filter((atMs) => atMs > endMs - windowMs && atMs <= endMs).length;
}

/** A replacement with the same template as its ended predecessor. */
export function succeed(
  policy: RestartPolicy,
  task: Attempt,
  status: TaskStatus | undefined,
  nowMs: number,
): Succession {
  const attempt = task.attempt + 1;
  const { restarts, restartedAtMs } = task;
  if (!endedByItself(task, taskState(task, status))) return { attempt, quickFailures: 0, restarts, restartedAtMs };
  const quickFailures = endedQuickly(task, status) ? task.quickFailures + 1 : 0;
  const delayMs = policy.delayMs ?? delayAfter(quickFailures);
  return {
    attempt,
    quickFailures,
    restarts: restarts + 1,
    restartedAtMs: countedFrom(policy, [...restartedAtMs, nowMs], nowMs),
    ...(delayMs === 0 ? {} : { notBeforeMs: nowMs + delayMs }),
  };
}

/** What may still count at the end of a task that begins now. */
function countedFrom({ windowMs }: RestartPolicy, restartedAtMs: readonly number[], nowMs: number): readonly number[] {
  if (windowMs === undefined) return [];
  return restartedAtMs.filter((atMs) => atMs > nowMs - windowMs).slice(-maxRestartsInWindow);
}

/** A replacement with a new template has no failures behind it, only attempts. */
export function succeedWithNewTemplate(task: Task): Succession {
  return { ...noPredecessor, attempt: task.nodeId === undefined ? task.attempt : task.attempt + 1 };
}

/** Wait before the replacement, after so many quick ends in a row: 0, then 1 s, 2 s, 4 s … `maxDelayMs`. */
export function delayAfter(quickFailures: number): number {
  return quickFailures <= 1 ? 0 : Math.min(maxDelayMs, firstDelayMs * 2 ** (quickFailures - 2));
}

/**
 * When a pending task may be placed, wall time; undefined: now. A clock that was set back to before the task's creation
 * says nothing about how long it has waited, so it then waits no more; nor ever longer than the longest declared delay.
 */
export function waitsUntil(task: Task, nowMs: number): number | undefined {
  if (task.notBeforeMs === undefined || nowMs < task.createdAtMs) return undefined;
  const dueMs = Math.min(task.notBeforeMs, task.createdAtMs + maxRestartDelayMs);
  return nowMs < dueMs ? dueMs : undefined;
}

/** It was not told to end, but for being unhealthy, which is its own doing. */
const endedByItself = (task: Attempt, state: TaskState): boolean =>
  state === 'complete' || state === 'failed' || state === 'rejected' || task.unhealthyAtMs !== undefined;

const endedAt = (task: Attempt, status: TaskStatus | undefined): number =>
  task.unhealthyAtMs ?? status?.finishedAtMs ?? status?.sinceMs ?? task.createdAtMs;

function endedQuickly(task: Attempt, status: TaskStatus | undefined): boolean {
  if (status?.state === 'rejected' || status?.startedAtMs === undefined) return true;
  return endedAt(task, status) - status.startedAtMs < quickFailureMs;
}
