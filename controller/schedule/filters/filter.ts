/** A filter says which nodes can't take a task, and why, for people. */
import type { Resources } from '../../../proto/domain/resources.ts';
import type { Room } from '../rooms.ts';

export interface Filter {
  passes(room: Room, reservations: Resources): boolean;
  /** One phrase for each kind of refusal among rooms that did not pass, as `1 is drained`. */
  explain(refused: readonly Room[], reservations: Resources): readonly string[];
}

/** `1 is drained`, `2 are drained`. */
export const countAre = (count: number, what: string): string =>
  `${String(count)} ${count === 1 ? 'is' : 'are'} ${what}`;

/** Refusals of one kind each, counted, in the order in which they are first met. */
export function countBy(
  rooms: readonly Room[],
  kindOf: (room: Room) => string | undefined,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const room of rooms) {
    const kind = kindOf(room);
    if (kind !== undefined) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts;
}
