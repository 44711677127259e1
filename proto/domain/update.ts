/** How a service's tasks are replaced when its template changes (Compose specification, `deploy.update_config`). */
export interface UpdatePolicy {
  /** Slots at a time; 0: all at once. */
  readonly parallelism: number;
  /** Between the end of one batch and the next. */
  readonly delayMs: number;
  readonly order: 'start-first' | 'stop-first';
  /** A new task that fails within this long after it came to run counts as a failure of the update. */
  readonly monitorMs: number;
  readonly failureAction: 'pause' | 'continue' | 'rollback';
  /** Share of the service's slots whose failure is borne, 0 to 1. */
  readonly maxFailureRatio: number;
}

/** Swarm's defaults. */
export const defaultUpdatePolicy: UpdatePolicy = {
  parallelism: 1,
  delayMs: 0,
  order: 'stop-first',
  monitorMs: 5_000,
  failureAction: 'pause',
  maxFailureRatio: 0,
};

/**
 * Where an update of a service is. Only a new declaration leads out of `paused` and the `rolled-back` states. From
 * `paused` on, new tasks get the template of `Service.previous`, which has run before.
 */
export type RolloutState =
  | 'updating' // tasks are being replaced
  | 'completed'
  | 'paused' // too many failures, `failure_action: pause`: what runs stays as it is
  | 'rolling-back' // too many failures: the tasks get the template of `Service.previous` again
  | 'rolled-back'
  | 'rollback-paused'; // the rollback failed, too

/** Part of the service's record. Writer: the plan. */
export interface Rollout {
  /** The stack's version that it leads to. */
  readonly version: number;
  readonly state: RolloutState;
  /** Hash of the declared template that it is about, in every state: another one is a new declaration. */
  readonly templateHash: string;
  readonly startedAtMs: number;
  readonly endedAtMs?: number;
  /** Begun so far, of the update or, once it is rolled back, of the rollback. */
  readonly batches: number;
  /** When the latest batch was done: the next waits `UpdatePolicy.delayMs` from here. Absent while one is under way. */
  readonly batchDoneAtMs?: number;
  /** Those in which a new task failed, ascending, each once. */
  readonly failedSlots: readonly number[];
  /** Why it is where it is, or the latest failure, for people. */
  readonly reason?: string;
}
