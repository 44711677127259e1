/** What names mean to this node's containers, joined: their files, and the name server. Part of the composition root. */
import { join } from 'node:path';
import { describeError } from '../proto/base/errors.ts';
import type { NetworkUnit, ServiceUnit } from '../proto/domain/assignment.ts';
import { createDnsServer } from './dns/dns-server.ts';
import { readNodeTexts, renderResolvConf } from './dns/resolv-conf.ts';
import type { TaskFiles } from './execute/ports.ts';
import { createTaskFiles } from './execute/task-files.ts';
import type { LinkParts } from './link.ts';
import { overlayAddress, parseSubnet } from './network/addresses.ts';
import { renderHosts, writeInPlace } from './network/hosts-file.ts';
import type { NodeNetwork } from './network/network.ts';
import { withoutSilent } from './network/reroute.ts';
import type { NodeSelf } from './session/assignments.ts';

export interface NodeNames {
  readonly files: TaskFiles;
  /** Answers again what an earlier agent answered, where it left its address: clients are waiting. */
  resume(): Promise<void>;
  /** After the network is what these units say, because the server's address is part of it. */
  serve(network: NetworkUnit, services: readonly ServiceUnit[]): Promise<void>;
  /** Nodes that do not answer this one: names that stand for tasks lead to theirs no longer, as VIPs do not. */
  reroute(silentNodes: ReadonlySet<string>): void;
  close(): Promise<void>;
}

export function createNodeNames(
  { options, assignments, logger }: LinkParts,
  self: NodeSelf,
  network: NodeNetwork,
): NodeNames {
  const address = overlayAddress(parseSubnet(self.subnet));
  const server = createDnsServer({ address, resident: (of) => network.resident(of), logger });
  const files = createTaskFiles({
    folder: join(options.data, 'files'),
    services: () => assignments.services(),
    renderHosts,
    writeInPlace,
    resolvConf: async () => renderResolvConf((await readNodeTexts())[0] ?? '', address),
    logger,
  });
  let served: { readonly unit: NetworkUnit; readonly services: readonly ServiceUnit[] } | undefined;
  let silent: ReadonlySet<string> = new Set();
  const answer = (): void => {
    if (served !== undefined) server.apply(served.unit, withoutSilent(served.services, silent));
  };
  const serve: NodeNames['serve'] = async (unit, services) => {
    served = { unit, services };
    answer();
    await server.open();
  };
  return {
    files,
    resume: async () => {
      const unit = assignments.network();
      if (unit === undefined) return;
      await serve(unit, assignments.services()).catch((error: unknown) => {
        logger.debug({ error: describeError(error) }, 'names are not answered before the network is made');
      });
    },
    serve,
    reroute: (silentNodes) => {
      silent = silentNodes;
      answer();
    },
    close: () => server.close(),
  };
}
