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
}

/** As seen, before it has its place in the history. */
export type NewEvent = Omit<ClusterEvent, 'sequence' | 'atMs'>;

/** Reasons can hold a container's output; a history of thousands should not grow by it. */
export const maxEventTextLength = 400;
