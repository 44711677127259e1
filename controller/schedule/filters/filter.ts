/** A filter says which nodes can't take a task, and why, for people. */
import type { Constraint } from '../../../proto/domain/placement.ts';
import type { Resources } from '../../../proto/domain/resources.ts';
import type { ConstraintCheck } from '../attributes.ts';
import type { Room } from '../rooms.ts';

/** What one task of a service asks of its node. */
export interface Claim {
  readonly reservations: Resources;
  readonly constraints: readonly Constraint[];
  /** `checkOf(constraints)`. */
  readonly unmet: ConstraintCheck;
  /** Tasks of the service on one node at the most; absent: no bound. */
  readonly maxPerNode: number | undefined;
  /** By node id: tasks the service has there, those that are stopping too. Grows while placing. */
  readonly liveOnNode: ReadonlyMap<string, number>;
}

/** `count` nodes refuse for one reason: `1 is drained`, `2 are drained`. */
export interface Refusal {
  readonly count: number;
  /** Said of one node: `is drained`. */
  readonly one: string;
  /** Said of several: `are drained`. */
  readonly many: string;
}

export interface Filter {
  passes(room: Room, claim: Claim): boolean;
  /** One for each kind of refusal among rooms that did not pass. */
  explain(refused: readonly Room[], claim: Claim): readonly Refusal[];
}

/** Rooms of one kind each, counted, in the order in which they are first met: they are all `what`. */
export function refusedAs(rooms: readonly Room[], kindOf: (room: Room) => string): readonly Refusal[] {
  const counts = new Map<string, number>();
  for (const room of rooms) counts.set(kindOf(room), (counts.get(kindOf(room)) ?? 0) + 1);
  return [...counts].map(([what, count]) => ({ count, one: `is ${what}`, many: `are ${what}` }));
}
