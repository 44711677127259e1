/** Every task has an address of its node's subnet. */
import type { Room } from '../rooms.ts';
import type { Filter } from './filter.ts';

/**
 * A /24 has 253 for containers. The few kept back are those of tasks that have ended and are being removed, which the
 * node still holds for a moment and the plan no longer counts.
 */
export const maxTasksPerNode = 240;

export const addressFilter: Filter = {
  passes: (room: Room) => room.tasks < maxTasksPerNode,
  explain: ({ length: count }) => {
    const what = `${String(maxTasksPerNode)} tasks already`;
    return count === 0 ? [] : [{ count, one: `has ${what}`, many: `have ${what}` }];
  },
};
