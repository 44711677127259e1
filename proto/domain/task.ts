import type { TaskTemplate } from './service.ts';

/** Ordered; a task only advances (SwarmKit `api/types.proto` TaskState). */
export const taskStates = [
  'new', // planned, not yet considered by the scheduler
  'pending', // no node fits yet; the reasons are in the plan's result
  'assigned', // bound to a node
  'accepted', // the agent has journaled it
  'preparing', // pulling and unpacking its image, making its network
  'ready', // all is there, the process is not started
  'starting', // the process runs, its first health check has not succeeded
  'running',
  'complete', // ended by itself with exit code 0
  'shutdown', // ended because it was no longer wanted
  'failed', // ended with another exit code, or by a signal
  'rejected', // could not be started; `reason` says why
  'remove', // no longer wanted, its traces are to be removed
  'orphaned', // its node was lost while it may have been running
] as const;

export type TaskState = (typeof taskStates)[number];

/** Looked up, not searched: every pass of the plan asks it of every task several times. */
const ranks = Object.fromEntries(taskStates.map((state, rank) => [state, rank])) as Readonly<Record<TaskState, number>>;

export const taskStateRank = (state: TaskState): number => ranks[state];

/** From here on the task will never run again. */
export const isEnded = (state: TaskState): boolean => taskStateRank(state) >= taskStateRank('complete');

/** Ids become host names, namespaces, cgroups and keys: a node that made one up itself must keep to it. */
export const isTaskId = (id: string): boolean => /^[0-9a-z]{12}$/.test(id);

export type Health = 'none' | 'starting' | 'healthy' | 'unhealthy';

/** What the plan wants of a task. It only advances: running → shutdown → remove. */
export type DesiredState = 'running' | 'shutdown' | 'remove';

/** Stored record. Writer: the plan, every field. One attempt to run one slot on one node. */
export interface Task {
  readonly id: string;
  readonly stack: string;
  readonly service: string;
  readonly slot: number;
  readonly template: TaskTemplate;
  /** Hash of `template`; equal hashes are interchangeable. */
  readonly templateHash: string;
  /** Absent while no node fits. Never changes once set. */
  readonly nodeId?: string;
  readonly desired: DesiredState;
  /** Why `desired` is no longer `running`, or why the node was given up. */
  readonly desiredReason?: string;
  /** The node was lost while this task may have been running there. */
  readonly orphaned?: boolean;
  /** It was told to end because its health check failed: an end by itself, at this wall time. */
  readonly unhealthyAtMs?: number;
  /** Earlier attempts in this slot, whatever ended them. */
  readonly attempt: number;
  /**
   * Of a fenced task: greater than that of any earlier task of its slot, also of an earlier service of that name. The
   * revision of the store on which it was planned. Its container gets it as `FROTA_FENCE`.
   */
  readonly fence?: number;
  /** `Rollout.version` of the update in or after which it was made; absent: the service was never updated before. */
  readonly rollout?: number;
  /** Consecutive attempts in this slot that ended soon after their start; sets the back-off. */
  readonly quickFailures: number;
  /** Replacements counted against `RestartPolicy.maxAttempts`: ends by themselves only, never a node's loss. */
  readonly restarts: number;
  /** When those within the policy's window were made, oldest first, wall time; kept only where it has one, the last `maxRestartsInWindow`. */
  readonly restartedAtMs: readonly number[];
  /** Its node made it by itself, while it was cut off from every controller. */
  readonly byNode?: boolean;
  readonly createdAtMs: number;
  /** Wall time before which the task is not placed (back-off, declared delay); never waits longer than `maxRestartDelayMs` from `createdAtMs`. */
  readonly notBeforeMs?: number;
}

/** Stored record at `running` and at the end, in memory in between. Writer: the agent, through `controller/dispatch`. */
export interface TaskStatus {
  readonly taskId: string;
  readonly state: TaskState;
  readonly health: Health;
  /** When `state` was entered, wall time of the controller. */
  readonly sinceMs: number;
  readonly startedAtMs?: number;
  /** When it first came to `running`: healthy, where it has a check. Writer: `controller/dispatch`. */
  readonly ranAtMs?: number;
  readonly finishedAtMs?: number;
  /** The container's address in the cluster network. */
  readonly address?: string;
  readonly exitCode?: number;
  /** Why it ended or could not start, or what it is doing now (`pulling 12.3 of 81.0 MB`). */
  readonly reason?: string;
}

/** A task's state as everyone sees it: the plan's knowledge and the agent's reports, whichever is further. */
export function taskState(
  task: Pick<Task, 'nodeId' | 'desired' | 'orphaned'>,
  status: TaskStatus | undefined,
): TaskState {
  if (status !== undefined && isEnded(status.state)) return status.state;
  if (task.orphaned === true) return 'orphaned';
  const planned: TaskState = task.nodeId === undefined ? 'pending' : 'assigned';
  if (status === undefined) return task.nodeId === undefined && task.desired !== 'running' ? 'shutdown' : planned;
  return taskStateRank(status.state) > taskStateRank(planned) ? status.state : planned;
}

/** `web.2`, the name people know a slot by. */
export const slotName = (service: string, slot: number): string => `${service}.${String(slot)}`;

/** `shop/web.2`: a slot among those of all stacks. */
export const slotId = ({ stack, service, slot }: Pick<Task, 'stack' | 'service' | 'slot'>): string =>
  `${stack}/${slotName(service, slot)}`;
