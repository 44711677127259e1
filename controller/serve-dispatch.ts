/** The Dispatch service on its server: which node calls, then what it is answered. Part of the composition root. */
import type { Clock } from '../proto/base/clock.ts';
import { FrotaError } from '../proto/base/errors.ts';
import type { CallContext } from '../proto/rpc/context.ts';
import type { RpcServer } from '../proto/rpc/server.ts';
import { dispatchService } from '../proto/rpc/service.ts';
import { contentsFor } from './dispatch/contents.ts';
import type { ContentPorts } from './dispatch/contents.ts';
import type { Dispatch } from './dispatch/dispatch.ts';
import { credentialFor } from './dispatch/registries.ts';
import type { CredentialPorts } from './dispatch/registries.ts';
import type { Authority } from './security/authority.ts';
import { requireRole } from './security/roles.ts';
import type { Broker } from './streams/broker.ts';

export interface DispatchParts extends ContentPorts, CredentialPorts {
  readonly dispatch: Dispatch;
  readonly authority: Authority;
  readonly broker: Broker;
  readonly clock: Clock;
}

export function addDispatch(server: RpcServer, parts: DispatchParts): void {
  const { dispatch, authority, clock } = parts;
  const nodeOf = (context: CallContext): string => requireRole(context.peer, 'node').commonName;
  server.add(dispatchService, {
    session: (incoming, context) => dispatch.serve(nodeOf(context), incoming, context.signal),
    renewCertificate: async ({ certificateRequest }, context) => {
      const nodeId = nodeOf(context);
      if (!parts.snapshot().nodes.has(nodeId))
        throw new FrotaError('forbidden', 'this node is no longer part of the cluster');
      const certificate = await authority.signNode(certificateRequest, nodeId, clock.now().wallMs);
      return { certificate, caCertificate: authority.certificate };
    },
    stream: (incoming, context) => parts.broker.join(nodeOf(context), incoming, context.signal),
    getRegistryCredential: ({ registry }, context) => credentialFor(parts, nodeOf(context), registry),
    fetchContents: async ({ ids }, context) => ({ contents: await contentsFor(parts, nodeOf(context), ids) }),
  });
}
