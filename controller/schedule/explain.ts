/** Why nothing fits, in one sentence: `0/3 nodes fit: 2 lack memory (need 512 MiB, free 128 MiB), 1 is drained`. */
import type { Resources } from '../../proto/domain/resources.ts';
import { addressFilter } from './filters/addresses.ts';
import { availabilityFilter } from './filters/availability.ts';
import { capacityFilter } from './filters/capacity.ts';
import type { Filter } from './filters/filter.ts';
import { readinessFilter } from './filters/readiness.ts';
import type { Room } from './rooms.ts';

/** In the order in which a node is asked; it is counted under the first that refuses it. */
export const filters: readonly Filter[] = [readinessFilter, availabilityFilter, addressFilter, capacityFilter];

export function explain(rooms: readonly Room[], reservations: Resources): string {
  if (rooms.length === 0) return 'no node has joined the cluster yet';
  const phrases = filters.map((filter) => {
    const refused = rooms.filter((room) => filters.find((each) => !each.passes(room, reservations)) === filter);
    return refused.length === 0 ? [] : filter.explain(refused, reservations);
  });
  // What a person can do most about comes first: room, then their own orders, then what is broken.
  return `0/${String(rooms.length)} nodes fit: ${phrases.reverse().flat().join(', ')}`;
}
