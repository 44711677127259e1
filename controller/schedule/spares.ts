/**
 * Images ahead of need: for each service the nodes that will have its image though they run none of its tasks, so that a
 * failover waits for no pull. They are the nodes that its next task would be placed on.
 */
import type { ResolvedImage } from '../../proto/domain/service.ts';
import { fits } from './explain.ts';
import { openPlacing } from './place.ts';
import type { ServiceOnNodes } from './place.ts';
import type { Room } from './rooms.ts';
import { bySpread } from './scores/spread.ts';

/** A service with what its next task would be. */
export interface SpareRequest extends ServiceOnNodes {
  /** `stack/service`. */
  readonly id: string;
  readonly image: ResolvedImage;
}

/** What is kept for one service. */
export interface Spares {
  readonly image: ResolvedImage;
  /** At most as many as are wanted, in the order in which they were chosen. */
  readonly nodeIds: readonly string[];
}

/** By `stack/service`. */
export type SparesByService = ReadonlyMap<string, Spares>;

/**
 * `count` nodes for each service. A node that was chosen `before` stays chosen while it could still take a task and has none, so that
 * a change of load moves no images. Nodes that have a task of the service need no spare.
 */
export function chooseSpares(
  requests: readonly SpareRequest[],
  rooms: ReadonlyMap<string, Room>,
  { count, before }: { readonly count: number; readonly before: SparesByService },
): SparesByService {
  const chosen = new Map<string, Spares>();
  if (count === 0) return chosen;
  let sorted: readonly Room[] | undefined;
  for (const request of requests) {
    const { claim } = openPlacing(request);
    const isCandidate = (room: Room): boolean => !request.liveOnNode.has(room.node.id) && fits(room, claim);
    const kept = (before.get(request.id)?.nodeIds ?? []).filter((nodeId) => {
      const room = rooms.get(nodeId);
      return room !== undefined && isCandidate(room);
    });
    const nodeIds = kept.slice(0, count);
    if (nodeIds.length < count) {
      sorted ??= [...rooms.values()].sort(bySpread);
      for (const room of sorted) {
        if (nodeIds.length >= count) break;
        if (!nodeIds.includes(room.node.id) && isCandidate(room)) nodeIds.push(room.node.id);
      }
    }
    if (nodeIds.length > 0) chosen.set(request.id, { image: request.image, nodeIds });
  }
  return chosen;
}

/** By node id: the images it is to have ahead of need, each once, in an order that does not depend on the services' names. */
export function sparesOfNodes(spares: SparesByService): ReadonlyMap<string, readonly ResolvedImage[]> {
  const byNode = new Map<string, Map<string, ResolvedImage>>();
  for (const { image, nodeIds } of spares.values()) {
    for (const nodeId of nodeIds) {
      const images = byNode.get(nodeId) ?? new Map<string, ResolvedImage>();
      images.set(`${image.reference}@${image.digest}`, image);
      byNode.set(nodeId, images);
    }
  }
  return new Map(
    [...byNode].map(([nodeId, images]) => [
      nodeId,
      [...images].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, image]) => image),
    ]),
  );
}
