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
  explain: (refused) => {
    const count = refused.length;
    return count === 0
      ? []
      : [`${String(count)} ${count === 1 ? 'has' : 'have'} ${String(maxTasksPerNode)} tasks already`];
  },
};
