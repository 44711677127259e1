/** What a task's actor works with; `agent/main.ts` joins these to their adapters. */
import type { Clock } from '../../proto/base/clock.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { AssignedTask, ServiceUnit } from '../../proto/domain/assignment.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import type { Image, Images } from '../images/images.ts';
import type { Attachment, NodeNetwork } from '../network/network.ts';
import type { ContainerCheck, HealthState } from '../reconcile/health.ts';
import type { TaskEnd } from '../reconcile/task-step.ts';
import type { ContainerSpec, Runtime } from '../runtime/runtime.ts';
import type { Journal } from '../state/journal.ts';
import type { CheckTurns } from './check-turns.ts';

/** The files of a container that this node writes: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`. */
export interface TaskFiles {
  /** Makes them for one task and says where they are to be bound. */
  prepare(task: AssignedTask, attachment: Attachment): Promise<readonly { source: string; target: string }[]>;
  /** Rewrites what every task's files say about names, in place, where it differs. */
  refresh(services: readonly ServiceUnit[]): Promise<void>;
  remove(taskId: string): Promise<void>;
  /** Ids of tasks that have files. */
  list(): Promise<readonly string[]>;
}

/** What a container finds besides its image: volumes, folders of the node, memory, configs and secrets. */
export interface TaskMounts {
  /**
   * Makes what is missing and says what the container is to get. While the controller can't be asked for a secret it waits.
   * `settle` is to be called once the container is made, or is not going to be; it never fails.
   * @throws FrotaError, `cancelled` when `signal` aborts.
   */
  prepare(
    task: AssignedTask,
    image: Image,
    options: { readonly signal: AbortSignal; readonly onWait: (reason: string) => void },
  ): Promise<Pick<ContainerSpec, 'files' | 'mounts'> & { readonly settle: () => Promise<void> }>;
  /** What is the task's alone goes. No error if there is nothing. */
  remove(taskId: string): Promise<void>;
  /** Ids of tasks of which something is there. */
  list(): Promise<readonly string[]>;
}

/** Leases of fenced tasks; nothing of it is asked for any other task. */
export interface FencedTasks {
  /** It has a lease, and the guard kills it when that ends. */
  holds(taskId: string): boolean;
  /** It had a lease, which has ended. */
  hasEnded(taskId: string): boolean;
  /** The guard knows of it. */
  isGuarded(taskId: string): boolean;
  /** Resolves when it holds, for a container that is made and not started. @throws FrotaError, `cancelled` when `signal` aborts. */
  arm(task: AssignedTask, signal: AbortSignal): Promise<void>;
  /** Its container is gone. No error if there is nothing. */
  release(taskId: string): Promise<void>;
}

export interface ActorPorts {
  readonly images: Images;
  readonly runtime: Runtime;
  readonly network: NodeNetwork;
  readonly files: TaskFiles;
  readonly mounts: TaskMounts;
  readonly leases: FencedTasks;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Resolves once the node's network is what the first assignment says; containers start behind it. */
  readonly networkReady: () => Promise<void>;
  /** Shared by all tasks of the node. */
  readonly checkTurns: CheckTurns;
  /** Times in the status are this host's wall clock; the session turns them into durations. */
  readonly onStatus: (status: TaskStatus) => void;
  /** The task is gone from this node, its record too. */
  readonly onForgotten: (taskId: string) => void;
}

/** What the journal keeps of one task. Writer: its actor. */
export interface TaskRecord {
  readonly assigned: AssignedTask;
  /** When this node was given it, or made it; wall time of this host. */
  readonly acceptedAtMs?: number;
  /** This node made it by itself, and no controller has said yet what is to become of it. */
  readonly local?: { readonly replaces: readonly string[] };
  /** The node's own answer to "has its process ever been started?", durable before the start. */
  readonly startRequested?: boolean;
  readonly startedAtMs?: number;
  readonly address?: string;
  /** From the image's config; needed to stop it after a restart of the agent. */
  readonly stopSignal?: string;
  /** How its health is checked; absent: it is not. Part of it may be the image's, as the signal is. */
  readonly check?: ContainerCheck;
  /** As it was last told: a later agent must not have it start again. */
  readonly health?: HealthState;
  /** When it was first known to have left every name and port. */
  readonly drainedAtMs?: number;
  readonly stopSentAtMs?: number;
  readonly end?: TaskEnd;
}
