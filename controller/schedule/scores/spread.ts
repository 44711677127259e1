/** Among nodes with equally many tasks of the service: the fewest tasks, then the most room, then the name, so that equal inputs give equal plans. */
import type { Room } from '../rooms.ts';

export const bySpread = (a: Room, b: Room): number =>
  a.tasks - b.tasks || b.freeShare - a.freeShare || a.order - b.order;
