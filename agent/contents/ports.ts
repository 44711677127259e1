/** The contents port: the configs and secrets of this node's tasks, as files in memory that containers are given. */
import type { AssignedTask } from '../../proto/domain/assignment.ts';

export interface BoundFile {
  /** Path on this host. */
  readonly source: string;
  /** Path in the container. */
  readonly target: string;
}

export interface WaitOptions {
  readonly signal: AbortSignal;
  /** Told why it takes longer, in words for people. */
  readonly onWait: (reason: string) => void;
}

export interface TaskContents {
  /**
   * Makes the task's files, fetching what no other task of this node has, and says where they are to be bound. While the
   * controller can't be asked it waits. It may be repeated after any crash.
   * @throws FrotaError `not-found` (the controller has it no more), `exhausted` (no room), `cancelled` when `signal` aborts.
   */
  prepare(task: AssignedTask, options: WaitOptions): Promise<readonly BoundFile[]>;
  /** The files go from memory. No error if there are none. */
  remove(taskId: string): Promise<void>;
  /** Ids of tasks that have files, those of an earlier agent included. */
  list(): Promise<readonly string[]>;
}
