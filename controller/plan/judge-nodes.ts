/**
 * A lost node's tasks are given up: orphaned, so that their slots are free for replacements in the same pass. On a node
 * that is only suspect or unreachable they stay; the scheduler places nothing new there.
 */
import { isLive, tasksOf } from './draft.ts';
import type { Draft } from './draft.ts';

export function judgeNodes(draft: Draft): void {
  const lost = new Map<string, string | undefined>();
  for (const service of draft.services.values()) {
    for (const task of tasksOf(service)) {
      const { nodeId } = task.task;
      if (nodeId === undefined || !isLive(task)) continue;
      if (!lost.has(nodeId)) lost.set(nodeId, whyLost(draft, nodeId));
      const reason = lost.get(nodeId);
      if (reason === undefined) continue;
      task.task = { ...task.task, orphaned: true, desired: 'shutdown', desiredReason: reason };
    }
  }
}

function whyLost(draft: Draft, nodeId: string): string | undefined {
  const node = draft.snapshot.nodes.get(nodeId)?.value;
  if (node === undefined) return `node ${nodeId} is no longer part of the cluster`;
  return draft.input.liveness.get(nodeId)?.state === 'down' ? `node ${node.name} was lost` : undefined;
}
