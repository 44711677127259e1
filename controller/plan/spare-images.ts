/** Which nodes have images ahead of need: of the services that run now, as one snapshot shows them. */
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { ServiceSpec } from '../../proto/domain/service.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import { openRooms, reserve } from '../schedule/rooms.ts';
import type { Room } from '../schedule/rooms.ts';
import { chooseSpares } from '../schedule/spares.ts';
import type { SpareRequest, SparesByService } from '../schedule/spares.ts';
import { namedVolumes } from './named-volumes.ts';
import type { Snapshot } from './snapshot.ts';

export interface SpareOptions {
  /** Nodes besides those that run the service. */
  readonly count: number;
  /** What was chosen last. */
  readonly before: SparesByService;
}

export function spareImages(
  snapshot: Snapshot,
  liveness: ReadonlyMap<string, NodeLiveness>,
  options: SpareOptions,
): SparesByService {
  if (options.count === 0) return new Map();
  const rooms = roomsOf(snapshot, liveness);
  const nodesOfServices = occupy(snapshot, rooms);
  const requests = [...snapshot.stacks.values()].flatMap(({ value: { spec } }) =>
    spec.services.flatMap((service) => {
      const id = serviceId(spec.name, service.name);
      const liveOnNode = nodesOfServices.get(id);
      return liveOnNode === undefined || !movesElsewhere(service) ? [] : [requestOf(id, service, liveOnNode)];
    }),
  );
  return chooseSpares(requests, rooms, options);
}

function requestOf(
  id: string,
  { template, placement }: ServiceSpec,
  liveOnNode: ReadonlyMap<string, number>,
): SpareRequest {
  const { image, reservations } = template;
  return { id, image, reservations, placement, wantedOnNode: liveOnNode, liveOnNode };
}

/** A node that is suspected for a moment has not lost its images: what it was chosen for stays with it until it is given up. */
function roomsOf(snapshot: Snapshot, liveness: ReadonlyMap<string, NodeLiveness>): ReadonlyMap<string, Room> {
  return openRooms(
    [...snapshot.nodes.values()].map(({ value: node }) => {
      const state = liveness.get(node.id)?.state;
      return { node, facts: snapshot.facts.get(node.id), state: state === 'suspect' ? 'ready' : state };
    }),
  );
}

/** Takes the place of every task that may still run. @returns by service and node how many there are. */
function occupy(
  snapshot: Snapshot,
  rooms: ReadonlyMap<string, Room>,
): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const nodesOfServices = new Map<string, Map<string, number>>();
  for (const { value: task } of snapshot.tasks.values()) {
    const { nodeId } = task;
    if (nodeId === undefined || isEnded(taskState(task, snapshot.statuses.get(task.id)))) continue;
    const room = rooms.get(nodeId);
    if (room !== undefined) reserve(room, task.template.reservations);
    const id = serviceId(task.stack, task.service);
    const nodes = nodesOfServices.get(id) ?? new Map<string, number>();
    nodes.set(nodeId, (nodes.get(nodeId) ?? 0) + 1);
    nodesOfServices.set(id, nodes);
  }
  return nodesOfServices;
}

/** What has a place of its own, or is not begun anew when it is lost, needs its image nowhere else. */
const movesElsewhere = ({ mode, restart, template }: ServiceSpec): boolean =>
  mode === 'replicated' && restart.condition !== 'none' && namedVolumes(template).length === 0;
