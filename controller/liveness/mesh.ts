/** PURE: which nodes may probe each other, and who is asked about a silent one. */

/** Up to so many nodes everyone may probe everyone; each pair costs a key, a socket and probes. */
export const meshLimit = 50;
/** Beyond it, on either side in the ring of node ids, which are random: so a rack is not its own only witness. */
const ringNeighbours = 24;

/** Those that may probe the node and whom it may probe: the relation is mutual. `sortedIds` holds the node too. */
export function meshPeers(nodeId: string, sortedIds: readonly string[]): readonly string[] {
  if (sortedIds.length <= meshLimit) return sortedIds.filter((id) => id !== nodeId);
  const at = indexOf(sortedIds, nodeId);
  if (at === -1) return [];
  const peers: string[] = [];
  for (let step = 1; step <= ringNeighbours; step += 1) {
    for (const index of [at - step, at + step]) {
      const id = sortedIds[(index + sortedIds.length) % sortedIds.length];
      if (id !== undefined) peers.push(id);
    }
  }
  return peers;
}

/** At most `count` of the candidates, spread evenly over them. */
export function spread(candidates: readonly string[], count: number): readonly string[] {
  if (candidates.length <= count) return candidates;
  return Array.from({ length: count }, (_, n) => candidates[Math.floor((n * candidates.length) / count)] ?? '');
}

function indexOf(sortedIds: readonly string[], id: string): number {
  let low = 0;
  for (let high = sortedIds.length; low < high;) {
    const middle = (low + high) >> 1;
    if ((sortedIds[middle] ?? '') < id) low = middle + 1;
    else high = middle;
  }
  return sortedIds[low] === id ? low : -1;
}
