/**
 * A node that keeps failing to start a service's tasks (its disk is full, it does not reach the registry) has the fewest
 * of them, so spreading alone would choose it again and again. It comes last for a while instead.
 */

/** One rejected task of the service, with the template it has now. */
export interface Rejection {
  readonly nodeId: string;
  readonly atMs: number;
}

/** One rejection may be chance, and the node has the image's layers by now; the next attempt goes elsewhere. */
export const rejectionsToAvoid = 2;
/** After this long the node may have been repaired. */
export const rejectionMemoryMs = 5 * 60_000;

export function nodesToAvoid(rejections: readonly Rejection[], nowMs: number): ReadonlySet<string> {
  const counts = new Map<string, number>();
  for (const { nodeId, atMs } of rejections) {
    if (nowMs - atMs < rejectionMemoryMs) counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  }
  return new Set([...counts].flatMap(([nodeId, count]) => (count >= rejectionsToAvoid ? [nodeId] : [])));
}
