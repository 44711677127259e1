/** What people and scripts see: the rows of `frota ls`, `ps`, `node ls`. Field names are part of the public interface. */
import type { Availability, NodeState } from './node.ts';
import type { Resources } from './resources.ts';
import type { PublishedPort } from './service.ts';
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
  readonly rollout: { readonly state: RolloutState; readonly reason: string | null } | null;
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
}
