/** What is left on each node: running totals, kept while placing, so that no placement sums up a node again. */
import type { Node, NodeFacts, NodeState } from '../../proto/domain/node.ts';
import type { Resources } from '../../proto/domain/resources.ts';

export interface NodeInput {
  readonly node: Node;
  /** Absent: it has never said hello. */
  readonly facts: NodeFacts | undefined;
  /** Absent: this controller has not heard it yet. */
  readonly state: NodeState | undefined;
}

/** One node as the scheduler sees it. Only `reserve` changes it. */
export interface Room extends NodeInput {
  freeCpuMillis: number;
  freeMemoryBytes: number;
  tasks: number;
}

/** By node id, in the order of node names. */
export function openRooms(nodes: readonly NodeInput[]): Map<string, Room> {
  const sorted = [...nodes].sort((a, b) => (a.node.name < b.node.name ? -1 : 1));
  return new Map(
    sorted.map((input) => {
      const { cpuMillis = 0, memoryBytes = 0 } = input.facts?.capacity ?? {};
      return [input.node.id, { ...input, freeCpuMillis: cpuMillis, freeMemoryBytes: memoryBytes, tasks: 0 }];
    }),
  );
}

export function reserve(room: Room, reservations: Resources): void {
  room.freeCpuMillis -= reservations.cpuMillis;
  room.freeMemoryBytes -= reservations.memoryBytes;
  room.tasks += 1;
}
