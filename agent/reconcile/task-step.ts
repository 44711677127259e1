/**
 * PURE: from what is wanted of one task and what is there of it to the next step. Asked again after every step and
 * every event, so start-up, steady state, adoption after a crash and shutdown are one path (balena-supervisor
 * `compose/composition-steps.ts`).
 */
import type { AssignedTask } from '../../proto/domain/assignment.ts';
import type { TaskState } from '../../proto/domain/task.ts';

/** How a task ended; recorded durably before anything of it is removed. */
export interface TaskEnd {
  readonly state: Extract<TaskState, 'complete' | 'shutdown' | 'failed' | 'rejected'>;
  readonly reason?: string;
  readonly exitCode?: number;
  /** Wall time of this host. */
  readonly finishedAtMs: number;
}

/** The container as the runtime sees it; `vanished`: the journal says it was started, the runtime knows nothing of it. */
export type ObservedContainer =
  | { readonly kind: 'absent' }
  | { readonly kind: 'vanished' }
  | { readonly kind: 'created' }
  | { readonly kind: 'running' }
  | {
      readonly kind: 'ended';
      /** Absent: nobody saw it end. */
      readonly exitCode?: number;
      readonly oomKilled: boolean;
      readonly finishedAtMs: number;
      readonly reason?: string;
    };

/** What this node has of one task. Writer: the task's actor only. */
export interface LocalTask {
  readonly imageReady: boolean;
  readonly attached: boolean;
  readonly container: ObservedContainer;
  /** It is fenced, and may not be started now. */
  readonly lacksLease?: boolean;
  /** Its health is not what was last told of it. */
  readonly hasHealthNews?: boolean;
  readonly end?: TaskEnd;
  /** When it was first known to have left every name and port; wall time of this host. */
  readonly drainedAtMs?: number;
  /** When the stop signal was sent; wall time of this host. */
  readonly stopSentAtMs?: number;
  readonly killSent?: boolean;
}

export type Step =
  | { readonly kind: 'pull' }
  | { readonly kind: 'attach' }
  | { readonly kind: 'create' }
  /** Of a fenced task: waits for its lease, and for the guard to know of it. */
  | { readonly kind: 'arm' }
  | { readonly kind: 'start' }
  /** Reports and records its health. */
  | { readonly kind: 'tell-health' }
  /** Records that it has left every name and port: from here the drain delay counts. */
  | { readonly kind: 'note-drained' }
  | { readonly kind: 'stop' }
  | { readonly kind: 'kill' }
  /** Records how the task ended. */
  | { readonly kind: 'finish'; readonly end: TaskEnd }
  /** Removes container and network, keeps the record of the end. */
  | { readonly kind: 'release' }
  /** Nothing is left but the record, and nobody wants that. */
  | { readonly kind: 'forget' }
  /** Nothing to do until something happens, or until `untilMs`. */
  | { readonly kind: 'wait'; readonly untilMs?: number };

export interface StepInput {
  /** Absent: the node is no longer to have this task. */
  readonly wanted: AssignedTask | undefined;
  readonly stopGracePeriodMs: number;
  /** From the last name and port it left to its stop signal; 0 too if it never had any. */
  readonly drainDelayMs: number;
  /** False until a controller has confirmed, since this agent started, what this node is to have: a stale journal starts nothing. Of attempts that the node made by itself: until it is cut off again. */
  readonly mayStart: boolean;
  readonly nowMs: number;
}

/** Steps whose failure is the task's: it is rejected. */
export const beginning: ReadonlySet<Step['kind']> = new Set(['pull', 'attach', 'create', 'arm', 'start']);
/** Steps that a change of what is wanted interrupts. */
export const interruptible: ReadonlySet<Step['kind']> = new Set(['pull', 'attach', 'create', 'arm']);

export function nextStep(local: LocalTask, input: StepInput): Step {
  const wantRunning = input.wanted?.desired === 'running';
  if (local.end !== undefined) return afterEnd(local, input);
  switch (local.container.kind) {
    case 'ended':
      return { kind: 'finish', end: endOfContainer(local.container, isLeaving(local, input)) };
    case 'vanished':
      return { kind: 'finish', end: vanished(input) };
    case 'running':
      if (!wantRunning) return leaving(local, input);
      return local.hasHealthNews === true ? { kind: 'tell-health' } : { kind: 'wait' };
    case 'created':
    case 'absent':
      return wantRunning
        ? starting(local, input)
        : { kind: 'finish', end: { state: 'shutdown', finishedAtMs: input.nowMs } };
  }
}

function starting(local: LocalTask, input: StepInput): Step {
  if (!input.mayStart) return { kind: 'wait' };
  if (local.container.kind === 'created') return { kind: local.lacksLease === true ? 'arm' : 'start' };
  if (!local.imageReady) return { kind: 'pull' };
  if (!local.attached) return { kind: 'attach' };
  return { kind: 'create' };
}

/** What ends by itself from here on ends because it was no longer wanted. One that nobody asks about is told as it ended. */
const isLeaving = (local: LocalTask, { wanted }: StepInput): boolean =>
  local.stopSentAtMs !== undefined || (wanted !== undefined && wanted.desired !== 'running');

function leaving(local: LocalTask, input: StepInput): Step {
  if (local.stopSentAtMs !== undefined) return stopping(local, local.stopSentAtMs, input);
  // It may still be led to: it runs on until the controller knows that it is not.
  if (input.wanted?.desired === 'draining') return { kind: 'wait' };
  if (input.wanted === undefined || input.drainDelayMs === 0) return { kind: 'stop' };
  if (local.drainedAtMs === undefined) return { kind: 'note-drained' };
  const untilMs = endOf(local.drainedAtMs, input.drainDelayMs, input.nowMs);
  return untilMs === undefined ? { kind: 'stop' } : { kind: 'wait', untilMs };
}

function stopping(local: LocalTask, stopSentAtMs: number, input: StepInput): Step {
  if (local.killSent === true) return { kind: 'wait' };
  const untilMs = endOf(stopSentAtMs, input.stopGracePeriodMs, input.nowMs);
  return untilMs === undefined ? { kind: 'kill' } : { kind: 'wait', untilMs };
}

/** Undefined once it is over. A wall clock that stepped back must not prolong it. */
function endOf(sinceMs: number, durationMs: number, nowMs: number): number | undefined {
  return nowMs < sinceMs || nowMs - sinceMs >= durationMs ? undefined : sinceMs + durationMs;
}

function afterEnd(local: LocalTask, input: StepInput): Step {
  if (local.container.kind !== 'absent' || local.attached) return { kind: 'release' };
  return input.wanted === undefined ? { kind: 'forget' } : { kind: 'wait' };
}

function vanished(input: StepInput): TaskEnd {
  return {
    state: 'failed',
    reason: 'its container is gone: the node lost power, or everything on it was killed',
    finishedAtMs: input.nowMs,
  };
}

function endOfContainer(container: Extract<ObservedContainer, { kind: 'ended' }>, stopped: boolean): TaskEnd {
  const { exitCode, finishedAtMs } = container;
  const common = { finishedAtMs, ...(exitCode === undefined ? {} : { exitCode }) };
  if (stopped) return { ...common, state: 'shutdown' };
  if (exitCode === 0) return { ...common, state: 'complete' };
  return {
    ...common,
    state: 'failed',
    reason: container.reason ?? exitReason(exitCode, container.oomKilled),
  };
}

/** Exit codes above this are 128 + the signal that ended the process (POSIX shells, OCI runtimes). */
const signalExitBase = 128;

/** The signals a person is likely to meet, by number on Linux. */
const signalNames: Readonly<Record<number, string>> = {
  1: 'SIGHUP', 2: 'SIGINT', 3: 'SIGQUIT', 4: 'SIGILL', 6: 'SIGABRT', 7: 'SIGBUS', 8: 'SIGFPE', 9: 'SIGKILL',
  11: 'SIGSEGV', 13: 'SIGPIPE', 14: 'SIGALRM', 15: 'SIGTERM', 24: 'SIGXCPU', 31: 'SIGSYS',
}; // prettier-ignore

export function exitReason(exitCode: number | undefined, oomKilled: boolean): string {
  if (exitCode === undefined) return `${oomKilled ? 'out of memory: ' : ''}ended, exit code unknown`;
  const signal = signalNames[exitCode - signalExitBase];
  const how = signal === undefined ? `exited with code ${String(exitCode)}` : `killed by ${signal}`;
  if (!oomKilled) return signal === undefined ? how : `${how} (exit code ${String(exitCode)})`;
  return `out of memory: ${how} (exit code ${String(exitCode)}); raise deploy.resources.limits.memory`;
}
