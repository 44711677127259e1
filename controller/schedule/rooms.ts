/** What is left on each node: running totals, kept while placing, so that no placement sums up a node again. */
import type { Node, NodeFacts, NodeState } from '../../proto/domain/node.ts';
import type { Resources } from '../../proto/domain/resources.ts';

export interface NodeInput {
  readonly node: Node;
  /** Absent: it has never said hello. */
  readonly facts: NodeFacts | undefined;
  /** Absent: this controller has not heard it yet. */
  readonly state: NodeState | undefined;
  /** Heard, but something of it hangs: what, for people. */
  readonly notAccepting?: string | undefined;
}

/** One node as the scheduler sees it. Only `reserve` changes it. */
export interface Room extends NodeInput {
  /** Its place among the nodes' names. */
  readonly order: number;
  freeCpuMillis: number;
  freeMemoryBytes: number;
  /** The scarcer of CPU and memory, in millionths of the node's capacity. */
  freeShare: number;
  tasks: number;
}

/** By node id, in the order of node names. */
export function openRooms(nodes: readonly NodeInput[]): Map<string, Room> {
  const sorted = [...nodes].sort((a, b) => (a.node.name < b.node.name ? -1 : 1));
  return new Map(
    sorted.map(({ node, facts, state, notAccepting }, order) => {
      const { cpuMillis: freeCpuMillis = 0, memoryBytes: freeMemoryBytes = 0 } = facts?.capacity ?? {};
      // Every field named: an object that was spread here is ten times slower to compare.
      const room: Room = {
        node,
        facts,
        state,
        notAccepting,
        order,
        freeCpuMillis,
        freeMemoryBytes,
        freeShare: 0,
        tasks: 0,
      };
      room.freeShare = freeShareOf(room);
      return [node.id, room];
    }),
  );
}

export function reserve(room: Room, reservations: Resources): void {
  room.freeCpuMillis -= reservations.cpuMillis;
  room.freeMemoryBytes -= reservations.memoryBytes;
  room.freeShare = freeShareOf(room);
  room.tasks += 1;
}

/** A whole number: objects that hold now one and now a fraction are slow to compare, and whole clusters are compared. */
function freeShareOf({ facts, freeCpuMillis, freeMemoryBytes }: Room): number {
  const { cpuMillis = 0, memoryBytes = 0 } = facts?.capacity ?? {};
  const cpu = cpuMillis === 0 ? 0 : freeCpuMillis / cpuMillis;
  const memory = memoryBytes === 0 ? 0 : freeMemoryBytes / memoryBytes;
  return Math.round(Math.min(cpu, memory) * 1_000_000);
}
