/** What people and scripts see: the rows of `frota ls`, `ps`, `node ls`. Field names are part of the public interface. */
import type { Availability, NodeState } from './node.ts';
import type { Resources } from './resources.ts';
import type { PublishedPort } from './service.ts';
import type { ChangeKind } from './revision.ts';
import type { RolloutState } from './update.ts';
import type { DesiredState, Health, TaskState } from './task.ts';

export interface TaskView {
  readonly id: string;
  readonly stack: string;
  readonly service: string;
  readonly slot: number;
  /** Node name; null while no node fits. */
  readonly node: string | null;
  readonly state: TaskState;
  readonly desiredState: DesiredState;
  readonly health: Health;
  readonly address: string | null;
  readonly ports: readonly PublishedPort[];
  readonly image: string;
  /** ISO 8601: when `state` was entered. */
  readonly since: string | null;
  readonly startedAt: string | null;
  readonly exitCode: number | null;
  /** Earlier attempts in this slot. */
  readonly restarts: number;
  /** Why it ended, why it can't be placed, or what it is doing; null if there is nothing to say. */
  readonly reason: string | null;
}

export interface ServiceView {
  readonly stack: string;
  readonly name: string;
  readonly mode: 'replicated' | 'global';
  readonly image: string;
  readonly replicas: { readonly desired: number; readonly running: number };
  readonly ports: readonly PublishedPort[];
  /** The latest update; null: it was never updated. */
  readonly rollout: RolloutView | null;
}

export interface RolloutView {
  readonly state: RolloutState;
  /** The stack's version that it leads to. */
  readonly version: number;
  /** Slots in which a task of that version's template runs. */
  readonly updated: number;
  /** Slots in which a new task failed. */
  readonly failed: number;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** Why it is where it is, or its latest failure. */
  readonly reason: string | null;
}

/** One accepted version of a stack. */
export interface RevisionView {
  readonly version: number;
  /** It is the one that is declared. */
  readonly current: boolean;
  readonly kind: ChangeKind;
  /** Common name of the client certificate. */
  readonly by: string;
  /** ISO 8601. */
  readonly at: string;
  /** `undo`: the version that it declared anew. */
  readonly restores: number | null;
  /** What it changed, one line for each thing. */
  readonly differences: readonly string[];
  /** Where one version is asked for: what it declares. */
  readonly services?: readonly RevisionService[];
}

export interface RevisionService {
  readonly name: string;
  readonly mode: 'replicated' | 'global';
  readonly image: string;
  readonly digest: string;
  /** Null: one on each node. */
  readonly replicas: number | null;
}

/** Why a stack can't become what was declared, unless somebody does something. */
export interface Stuck {
  readonly service: string;
  /** Null: the service as a whole, for its update has failed. */
  readonly slot: number | null;
  /** Where the slot's latest attempt was. */
  readonly node: string | null;
  readonly reason: string;
}

/** The latest attempt that failed in a slot that is not as declared. */
export interface FailedAttempt {
  readonly service: string;
  readonly slot: number;
  readonly taskId: string;
  readonly node: string | null;
  /** Its process was started, so it may have written something. */
  readonly started: boolean;
  readonly reason: string;
}

export interface NodeView {
  readonly id: string;
  readonly name: string;
  readonly state: NodeState;
  readonly availability: Availability;
  readonly address: string;
  readonly capacity: Resources;
  readonly reserved: Resources;
  /** Tasks wanted on this node or still running there. */
  readonly tasks: number;
  readonly since: string;
  readonly labels: Readonly<Record<string, string>>;
  /** What people should know besides the state, each a clause: `not accepting tasks: …`. */
  readonly notes: readonly string[];
}
