/** The Join service on its server: a token is used up, a node admitted, its certificate signed. Part of the composition root. */
import pLimit from 'p-limit';
import type { Clock } from '../proto/base/clock.ts';
import type { RpcServer } from '../proto/rpc/server.ts';
import { joinService } from '../proto/rpc/service.ts';
import { joinNode } from './api/join.ts';
import type { LivenessJudge } from './liveness/liveness-judge.ts';
import type { Authority } from './security/authority.ts';
import { redemption } from './security/tokens.ts';
import type { Mirror } from './store/mirror.ts';
import type { Store } from './store/store.ts';
import type { Records } from './store/write-records.ts';

export interface JoinParts {
  readonly authority: Authority;
  readonly mirror: Mirror;
  readonly judge: LivenessJudge;
  readonly records: Records;
  readonly store: Store;
  /** host:port */
  readonly controlAddress: string;
  readonly newId: () => string;
  readonly clock: Clock;
}

export function addJoin(server: RpcServer, parts: JoinParts): void {
  const { authority, mirror, judge, records, store, controlAddress, newId, clock } = parts;
  // One at a time: each sees the names and subnets that those before it took.
  const serially = pLimit(1);
  server.add(joinService, {
    join: async ({ token, nodeName, certificateRequest }) =>
      serially(async () => {
        const nowMs = clock.now().wallMs;
        // Looked at first: a stranger must not have the authority at work.
        await redemption(store, token, nowMs);
        // Signed before the token is used up: a request that is refused costs nothing.
        const nodeId = newId();
        const certificate = await authority.signNode(certificateRequest, nodeId, nowMs);
        const node = await joinNode(
          {
            snapshot: () => mirror.snapshot(),
            liveness: () => judge.states(),
            admit: async (given, admitted, replaces) =>
              records.admitNode(await redemption(store, given, nowMs), admitted, replaces),
            newId: () => nodeId,
            clock,
          },
          token,
          nodeName,
        );
        return {
          nodeId: node.id,
          certificate,
          caCertificate: authority.certificate,
          controlAddress,
        };
      }),
  });
}
