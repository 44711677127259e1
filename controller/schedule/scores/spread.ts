/** Among nodes with equally many tasks of the service: the fewest tasks, then the most room, then the name, so that equal inputs give equal plans. */
import type { Room } from '../rooms.ts';

export function bySpread(a: Room, b: Room): number {
  return a.tasks - b.tasks || freeShare(b) - freeShare(a) || (a.node.name < b.node.name ? -1 : 1);
}

/** The scarcer of CPU and memory, as a share of the node's capacity. */
function freeShare({ facts, freeCpuMillis, freeMemoryBytes }: Room): number {
  const { cpuMillis = 0, memoryBytes = 0 } = facts?.capacity ?? {};
  return Math.min(
    cpuMillis === 0 ? 0 : freeCpuMillis / cpuMillis,
    memoryBytes === 0 ? 0 : freeMemoryBytes / memoryBytes,
  );
}
