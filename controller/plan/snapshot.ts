/** What the plan sees and what it answers. Plain data both ways: the loop reads, the plan decides, the store decides who wins. */
import type { MonoMs, Now } from '../../proto/base/clock.ts';
import type { Problem } from '../../proto/base/errors.ts';
import type { ContentFacts } from '../../proto/domain/content.ts';
import type { Node, NodeFacts, NodeLiveness } from '../../proto/domain/node.ts';
import type { Pin, Service, Stack, TaskTemplate } from '../../proto/domain/service.ts';
import type { Task, TaskStatus } from '../../proto/domain/task.ts';
import type { SparesByService } from '../schedule/spares.ts';

/** A record with the revision that a change of it must compare against. */
export interface Stored<T> {
  readonly value: T;
  readonly modRevision: number;
}

/** One immutable picture of the store. Maps are never mutated once handed out. */
export interface Snapshot {
  readonly revision: number;
  readonly containerPool: string;
  readonly vipPool: string;
  /** By stack name. */
  readonly stacks: ReadonlyMap<string, Stored<Stack>>;
  /** By `stack/service`. */
  readonly services: ReadonlyMap<string, Stored<Service>>;
  /** By `stack/service`: of services that are gone, and whose volumes are still there. Meaningless while there is a service's record. */
  readonly keptPins: ReadonlyMap<string, Stored<readonly Pin[]>>;
  /** By task id. */
  readonly tasks: ReadonlyMap<string, Stored<Task>>;
  /** By task id. Stored reports and, over them, those kept in memory only. */
  readonly statuses: ReadonlyMap<string, TaskStatus>;
  /** By node id. */
  readonly nodes: ReadonlyMap<string, Stored<Node>>;
  /** By node id. A node that never said hello has none and takes no tasks. */
  readonly facts: ReadonlyMap<string, NodeFacts>;
  /** By id: configs and secrets that are stored, without their bytes. */
  readonly contents: ReadonlyMap<string, Stored<ContentFacts>>;
}

/** What a controller knows of the leases it and those before it have given. On its monotonic clock. */
export interface Leases {
  /** From here on no earlier controller has given any. */
  readonly leaderSinceMs: MonoMs;
  /** By task id: when this controller last answered for it. */
  readonly answeredAtMs: ReadonlyMap<string, MonoMs>;
}

/** When many nodes are lost at once it is more likely the network than the nodes. */
export interface Brake {
  /** Nodes lost this close together were lost together, ms. */
  readonly windowMs: number;
  /** How long they are waited for, ms. */
  readonly holdMs: number;
}

/** Everything the plan needs besides the snapshot; it reads no clock and draws no number itself. */
export interface PlanInput {
  readonly now: Now;
  /** A new unique id at each call. */
  readonly newId: () => string;
  /** By node id; a node without an entry has not been heard by this controller yet and takes no new tasks. */
  readonly liveness: ReadonlyMap<string, NodeLiveness>;
  /** By `stack/service`: nodes that were given its image ahead of need. */
  readonly spares?: SparesByService;
  /** Of fenced tasks; absent: none holds, as for a plan that only asks what would fit. */
  readonly leases?: Leases;
  /** Absent: the default one. */
  readonly brake?: Brake;
  /** `sha256` or the like of a canonical text, as hex; passed in because pure rooms import no `node:*`. */
  readonly hash: (text: string) => string;
  /** Gives what `hash` gives of a template, and need not work it out anew in each pass (`template-hashes`). */
  readonly templateHash?: (template: TaskTemplate) => string;
}

/**
 * One change of one record, or of a few that belong together. The order of a plan's changes is the order to commit them in: after any first part of them
 * no slot is wanted twice. It is committed by itself if the record still has `modRevision` (0: does not exist) and, for
 * a placement, if the node record still has `nodeModRevision`; else it is dropped and the next pass plans anew.
 */
export type Change =
  | { readonly kind: 'put-service'; readonly service: Service; readonly modRevision: number }
  /** Services that give ports to each other: all are put or none, so that no port is ever published by two. */
  | {
      readonly kind: 'trade-ports';
      readonly services: readonly { readonly service: Service; readonly modRevision: number }[];
    }
  /** And keeps its pins, if there are any. */
  | {
      readonly kind: 'delete-service';
      readonly id: string;
      readonly modRevision: number;
      readonly pins: readonly Pin[];
    }
  | { readonly kind: 'delete-pins'; readonly id: string; readonly modRevision: number }
  | {
      readonly kind: 'put-task';
      readonly task: Task;
      readonly modRevision: number;
      readonly node?: { readonly id: string; readonly modRevision: number };
    }
  /** Deletes the task's record and its status. */
  | { readonly kind: 'delete-task'; readonly id: string; readonly modRevision: number }
  | { readonly kind: 'delete-content'; readonly id: string; readonly modRevision: number };

export interface Plan {
  readonly changes: readonly Change[];
  /** Wall time at which the next pass is due though nothing happens (a back-off ends); absent: only events wake. */
  readonly wakeAtMs?: number;
  /** By task id: why a wanted task has no node, in one sentence for people. */
  readonly reasons: ReadonlyMap<string, string>;
  /** What can't be given to a service as declared now: a port that another service still holds, a VIP from a full pool. */
  readonly problems?: readonly Problem[];
}
