/**
 * Places equal tasks of one service: `count` placements cost about `nodes + count × log(nodes)`, and without the first term
 * where a `RoomIndex` serves many batches.
 */
import type { Placement } from '../../proto/domain/placement.ts';
import type { Resources } from '../../proto/domain/resources.ts';
import { checkOf } from './attributes.ts';
import { explain, fits, whyUnfit } from './explain.ts';
import type { Claim } from './filters/filter.ts';
import { groupNodes, takeNext } from './groups.ts';
import type { Candidate } from './groups.ts';
import { reserve } from './rooms.ts';
import type { RoomIndex } from './room-index.ts';
import type { Room } from './rooms.ts';

/** What equal tasks of a service ask, and where it has some already. */
export interface ServiceOnNodes {
  readonly reservations: Resources;
  readonly placement: Placement;
  /** By node id: wanted tasks the service has there; they are what is spread. */
  readonly wantedOnNode: ReadonlyMap<string, number>;
  /** By node id: the same and those that are stopping; they are what is bounded. */
  readonly liveOnNode: ReadonlyMap<string, number>;
}

/** Placing of one service's tasks: what it has on each node, kept as it grows. */
export interface Placing {
  readonly claim: Claim;
  readonly spread: readonly string[];
  readonly wantedOnNode: ReadonlyMap<string, number>;
  /** Reserves a place for one task. @returns whether another one fits. */
  take(room: Room): boolean;
}

export interface PlacementRequest {
  /** How many equal tasks. */
  readonly count: number;
  /** Nodes that are chosen first, where they fit: what the tasks work with is there. */
  readonly prefer: ReadonlySet<string>;
  /** Nodes that come first among those with equally many tasks of the service: its image is there. */
  readonly haveImage?: ReadonlySet<string>;
  /** Nodes that are chosen only when no other fits. */
  readonly avoid: ReadonlySet<string>;
}

export interface Placed {
  /** A node for each task that could be placed, at most `count`. */
  readonly nodeIds: readonly string[];
  /** Why there are fewer than `count`. */
  readonly reason?: string;
}

export function openPlacing({ reservations, placement, wantedOnNode, liveOnNode }: ServiceOnNodes): Placing {
  const wanted = new Map(wantedOnNode);
  const live = new Map(liveOnNode);
  const { constraints, spread, maxReplicasPerNode } = placement;
  const unmet = checkOf(constraints);
  const claim: Claim = { reservations, constraints, unmet, maxPerNode: maxReplicasPerNode, liveOnNode: live };
  return {
    claim,
    spread,
    wantedOnNode: wanted,
    take: (room) => {
      reserve(room, reservations);
      for (const counts of [wanted, live]) counts.set(room.node.id, (counts.get(room.node.id) ?? 0) + 1);
      return fits(room, claim);
    },
  };
}

/** Reserves what it places in `rooms`. The `index` of the same rooms changes what it costs, never where anything goes. */
export function place(rooms: readonly Room[], placing: Placing, request: PlacementRequest, index?: RoomIndex): Placed {
  const { count } = request;
  const nodeIds: string[] = [];
  const use = (room: Room): boolean => {
    nodeIds.push(room.node.id);
    return placing.take(room);
  };
  const isAnyAlike = request.prefer.size === 0 && request.avoid.size === 0;
  if (index !== undefined && isAnyAlike) {
    const { claim, spread, wantedOnNode } = placing;
    index.withGroups({ claim, spread, wantedOnNode, haveImage: request.haveImage ?? new Set() }, (group) => {
      while (nodeIds.length < count && takeNext(group, use));
    });
    return nodeIds.length < count ? { nodeIds, reason: explain(rooms, claim) } : { nodeIds };
  }
  for (const rank of ranks) {
    if (nodeIds.length >= count) break;
    const { candidates, others } = candidatesOf(rooms, placing, request, rank);
    if (candidates.length === 0) continue;
    const group = groupNodes(candidates, others, placing.spread);
    while (nodeIds.length < count && takeNext(group, use));
  }
  return nodeIds.length < count ? { nodeIds, reason: explain(rooms, placing.claim) } : { nodeIds };
}

/** The preferred first, the avoided last. */
const ranks = ['preferred', 'neutral', 'avoided'] as const;

function candidatesOf(
  rooms: readonly Room[],
  { claim, wantedOnNode }: Placing,
  { prefer, avoid, haveImage }: PlacementRequest,
  rank: (typeof ranks)[number],
): { readonly candidates: readonly Candidate[]; readonly others: readonly Candidate[] } {
  const candidates: Candidate[] = [];
  const others: Candidate[] = [];
  if (rank === 'preferred' && prefer.size === 0) return { candidates, others };
  if (rank === 'avoided' && avoid.size === 0) return { candidates, others };
  for (const room of rooms) {
    const { id } = room.node;
    const own = wantedOnNode.size === 0 ? 0 : (wantedOnNode.get(id) ?? 0);
    const ownRank = avoid.has(id) ? 'avoided' : prefer.has(id) ? 'preferred' : 'neutral';
    const hasImage = haveImage?.has(id) === true;
    if (ownRank === rank && fits(room, claim)) candidates.push({ room, own, hasImage });
    else if (own > 0) others.push({ room, own, hasImage });
  }
  return { candidates, others };
}

/** For a task that can be on this node only. Reserves its place. @returns why it can't, said of the node: `is drained`. */
export function placeOn(room: Room, placing: Placing): string | undefined {
  const unfit = whyUnfit(room, placing.claim);
  if (unfit === undefined) placing.take(room);
  return unfit;
}
