/**
 * Places equal tasks of one service. A node's order among those with equally many tasks of the service does not change
 * until it is chosen, so each level is sorted once: `count` placements cost about `count × log(nodes)`.
 */
import type { Resources } from '../../proto/domain/resources.ts';
import { explain, filters } from './explain.ts';
import { reserve } from './rooms.ts';
import type { Room } from './rooms.ts';
import { bySpread } from './scores/spread.ts';

export interface PlacementRequest {
  /** How many equal tasks. */
  readonly count: number;
  readonly reservations: Resources;
  /** By node id: wanted tasks the service has there already. */
  readonly tasksOnNode: ReadonlyMap<string, number>;
  /** Nodes that are chosen only when no other fits. */
  readonly avoid: ReadonlySet<string>;
}

export interface Placement {
  /** A node for each task that could be placed, at most `count`. */
  readonly nodeIds: readonly string[];
  /** Why there are fewer than `count`. */
  readonly reason?: string;
}

/** Reserves what it places in `rooms`. */
export function place(rooms: readonly Room[], request: PlacementRequest): Placement {
  const { reservations, avoid, count } = request;
  const fitting = rooms.filter((room) => fits(room, reservations));
  const nodeIds: string[] = [];
  fill(
    fitting.filter(({ node }) => !avoid.has(node.id)),
    request,
    nodeIds,
  );
  if (nodeIds.length < count)
    fill(
      fitting.filter(({ node }) => avoid.has(node.id)),
      request,
      nodeIds,
    );
  return nodeIds.length < count ? { nodeIds, reason: explain(rooms, reservations) } : { nodeIds };
}

const fits = (room: Room, reservations: Resources): boolean =>
  filters.every((filter) => filter.passes(room, reservations));

/** Level by level: the nodes with the fewest tasks of the service each take one, then belong to the next level. */
function fill(
  fitting: readonly Room[],
  { count, reservations, tasksOnNode }: PlacementRequest,
  nodeIds: string[],
): void {
  const levels = new Map<number, Room[]>();
  const join = (level: number, room: Room): void => {
    const members = levels.get(level);
    if (members === undefined) levels.set(level, [room]);
    else members.push(room);
  };
  for (const room of fitting) join(tasksOnNode.get(room.node.id) ?? 0, room);
  while (nodeIds.length < count && levels.size > 0) {
    const level = Math.min(...levels.keys());
    const members = (levels.get(level) ?? []).sort(bySpread);
    levels.delete(level);
    for (const room of members) {
      if (nodeIds.length >= count) return;
      reserve(room, reservations);
      nodeIds.push(room.node.id);
      if (fits(room, reservations)) join(level + 1, room);
    }
  }
}
