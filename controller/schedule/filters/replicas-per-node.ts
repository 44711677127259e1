/** No more tasks of a service on one node than it allows; one that is stopping counts until it has stopped. */
import type { Filter } from './filter.ts';

export const replicasPerNodeFilter: Filter = {
  passes: ({ node }, { maxPerNode, liveOnNode }) =>
    maxPerNode === undefined || (liveOnNode.get(node.id) ?? 0) < maxPerNode,
  explain: ({ length: count }, { maxPerNode = 0 }) => {
    const what = `as many of its tasks as max_replicas_per_node allows (${String(maxPerNode)})`;
    return count === 0 ? [] : [{ count, one: `has ${what}`, many: `have ${what}` }];
  },
};
