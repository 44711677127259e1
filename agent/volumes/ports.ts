/** The volumes port: what a task mounts besides its image, made on this node. */
import type { AssignedTask } from '../../proto/domain/assignment.ts';
import type { Image } from '../images/images.ts';
import type { ContainerMount } from '../runtime/runtime.ts';

export interface PreparedMounts {
  /** The template's, and anonymous volumes for paths that the image declares as volumes. */
  readonly mounts: readonly ContainerMount[];
  /** To be called once the container is made, or is not going to be: what was held only for that goes. */
  readonly settle: () => Promise<void>;
}

export interface Volumes {
  /**
   * Makes the volumes that are missing, each whole or not at all, and says what the container is to get. It may be
   * repeated after any crash. @throws FrotaError `not-found` (a bind's source, a subpath), `invalid` (what the image has
   * at the target is no folder), `exhausted` (the disk is full), `cancelled`; it names node, service and path.
   */
  prepare(task: AssignedTask, image: Image, signal: AbortSignal): Promise<PreparedMounts>;
  /** The task's anonymous volumes go; named ones stay. No error if there are none. */
  remove(taskId: string): Promise<void>;
  /** Ids of tasks that have anonymous volumes. */
  list(): Promise<readonly string[]>;
  /** Removes what a crash left: half-made volumes, mounts that were held. Called once at start, before anything else. */
  sweep(): Promise<void>;
}
