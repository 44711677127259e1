/**
 * What happened in the cluster, and because of what. Stored record; writer: `controller/events`. A bounded history: the
 * oldest go. Events are ordered by `sequence`, which has no gaps and never starts anew.
 */
export interface ClusterEvent {
  readonly sequence: number;
  /** Revision of the store's change that it tells of; 0 for what is not stored, as a node that falls silent. */
  readonly revision: number;
  /** When the controller saw it, its wall time. */
  readonly atMs: number;
  /** What it is about, then what happened: `task.failed`, `node.down`, `stack.applied`, `rollout.paused`. */
  readonly kind: string;
  readonly stack?: string;
  readonly service?: string;
  readonly slot?: number;
  readonly taskId?: string;
  /** By name. */
  readonly node?: string;
  /** Common name of the person's certificate, where somebody ordered it. */
  readonly by?: string;
  /** What happened, for people. */
  readonly message: string;
  /** Because of what; absent where the message says all. */
  readonly cause?: string;
  /** Of `task.recovered`. */
  readonly recovery?: RecoveryMoments;
}

/**
 * When each phase of a recovery was over, in milliseconds since the last sign of life of what was lost: the last heartbeat of
 * a node, or the end of a task.
 */
export interface RecoveryMoments {
  /** The node's silence was noticed; absent where a task ended. */
  readonly suspected?: number;
  /** The loss was certain. */
  readonly confirmed: number;
  /** A pass had decided what takes its place. */
  readonly planned: number;
  readonly committed: number;
  /** The new node had it. */
  readonly received: number;
  /** All was there but the process. */
  readonly created: number;
  /** Running, and healthy where it has a check. */
  readonly running: number;
  /** The ports and names of every node that can be reached lead to it. */
  readonly inForce: number;
}

/** As seen, before it has its place in the history. */
export type NewEvent = Omit<ClusterEvent, 'sequence' | 'atMs'>;

/** Reasons can hold a container's output; a history of thousands should not grow by it. */
export const maxEventTextLength = 400;
