/** What the peers' silence means for this node's traffic. Part of the composition root. */
import { describeError } from '../proto/base/errors.ts';
import type { Logger } from '../proto/base/log.ts';
import type { ServiceUnit } from '../proto/domain/assignment.ts';
import type { NodeNetwork } from './network/network.ts';

/** The nodes that have endpoints of these services. */
export const nodesOf = (services: readonly ServiceUnit[]): readonly string[] => [
  ...new Set(services.flatMap(({ endpoints }) => endpoints.map(({ nodeId }) => nodeId))),
];

/** What fails here the next repair of the network makes good. */
export function reroute(network: NodeNetwork, silentNodes: ReadonlySet<string>, logger: Logger): void {
  logger.info({ nodes: [...silentNodes] }, 'nodes that do not answer this one: their endpoints get no new connections');
  network.reroute(silentNodes).catch((error: unknown) => {
    logger.warn({ error: describeError(error) }, 'the endpoints of silent nodes could not be changed');
  });
}
