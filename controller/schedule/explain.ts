/** Why nothing fits, in one sentence: `0/3 nodes fit: 2 lack memory (need 512 MiB, free 128 MiB), 1 is drained`. */
import type { ConstraintCheck } from './attributes.ts';
import { addressFilter } from './filters/addresses.ts';
import { availabilityFilter } from './filters/availability.ts';
import { capacityFilter } from './filters/capacity.ts';
import { constraintFilter } from './filters/constraints.ts';
import type { Claim, Filter } from './filters/filter.ts';
import { readinessFilter } from './filters/readiness.ts';
import { replicasPerNodeFilter } from './filters/replicas-per-node.ts';
import type { Room } from './rooms.ts';

/** In the order in which a node is asked; it is counted under the first that refuses it. */
const filters: readonly Filter[] = [
  readinessFilter,
  availabilityFilter,
  constraintFilter,
  addressFilter,
  replicasPerNodeFilter,
  capacityFilter,
];

export function fits(room: Room, claim: Claim): boolean {
  for (const filter of filters) if (!filter.passes(room, claim)) return false;
  return true;
}

/** What does not change while placing: it is asked once for all tasks with the same constraints. */
export const isEligible = ({ node, facts, state }: Room, unmet: ConstraintCheck): boolean =>
  state === 'ready' && facts !== undefined && node.availability === 'active' && unmet(node, facts) === undefined;

export function explain(rooms: readonly Room[], claim: Claim): string {
  if (rooms.length === 0) return 'no node has joined the cluster yet';
  const phrases = filters.map((filter) => {
    const refused = rooms.filter((room) => refusing(room, claim) === filter);
    return filter.explain(refused, claim).map(({ count, one, many }) => `${String(count)} ${count === 1 ? one : many}`);
  });
  // What a person can do most about comes first: room, then their own orders, then what is broken.
  return `0/${String(rooms.length)} nodes fit: ${phrases.reverse().flat().join(', ')}`;
}

/** Of one node: `lacks memory (need 512 MiB, free 128 MiB)`, `is drained`; undefined: it fits. */
export function whyUnfit(room: Room, claim: Claim): string | undefined {
  return refusing(room, claim)?.explain([room], claim)[0]?.one;
}

const refusing = (room: Room, claim: Claim): Filter | undefined =>
  filters.find((filter) => !filter.passes(room, claim));
