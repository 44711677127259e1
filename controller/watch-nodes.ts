/** Tells the liveness judge whom to watch, and the agents how often to be heard and whom to probe. Part of the composition root. */
import type { LivenessPlan } from '../proto/codec/dispatch.ts';
import type { Dispatch } from './dispatch/dispatch.ts';
import type { LivenessJudge } from './liveness/liveness-judge.ts';
import { meshPeers } from './liveness/mesh.ts';
import type { WatchedNode } from './liveness/messages.ts';
import { heartbeatIntervalFor } from './liveness/settings.ts';
import { livenessKey, pairKey } from './security/liveness-keys.ts';
import type { Mirror } from './store/mirror.ts';

export interface NodeWatch {
  readonly planFor: (nodeId: string) => LivenessPlan;
  /** Starts to watch; `dispatch` tells those whose plan changes from now on. */
  start(dispatch: Pick<Dispatch, 'send'>): void;
}

interface NodeWatchParts {
  readonly mirror: Mirror;
  readonly judge: LivenessJudge;
  readonly clusterSecret: Uint8Array;
  /** Of a cluster that is small enough for it, ms. */
  readonly baseIntervalMs: number;
}

/** Nodes whose heartbeats count: all that have joined and said where they are. */
export function createNodeWatch({ mirror, judge, clusterSecret, baseIntervalMs }: NodeWatchParts): NodeWatch {
  let nodes = new Map<string, WatchedNode>();
  let sortedIds: readonly string[] = [];
  let seen = '';
  /** By node id what it was last told, without keys, which follow from it. */
  let told = new Map<string, string>();

  function look(): void {
    const { nodes: joined, facts } = mirror.snapshot();
    const known = [...joined.keys()].flatMap((nodeId) => facts.get(nodeId) ?? []);
    const text = JSON.stringify(known.map(({ nodeId, address, livenessPort }) => [nodeId, address, livenessPort]));
    if (seen === text) return;
    seen = text;
    nodes = new Map(
      known.map(({ nodeId, address, livenessPort }) => {
        const key = nodes.get(nodeId)?.key ?? livenessKey(clusterSecret, nodeId);
        return [nodeId, { nodeId, address, livenessPort, key }];
      }),
    );
    sortedIds = [...nodes.keys()].sort();
  }

  const peersOf = (nodeId: string): readonly WatchedNode[] =>
    meshPeers(nodeId, sortedIds).flatMap((id) => nodes.get(id) ?? []);

  /** What the plan of one node says, without the keys. */
  const textOf = (nodeId: string): string =>
    JSON.stringify([
      heartbeatIntervalFor(nodes.size, baseIntervalMs),
      peersOf(nodeId).map((peer) => [peer.nodeId, peer.address, peer.livenessPort]),
    ]);

  function planFor(nodeId: string): LivenessPlan {
    look();
    told.set(nodeId, textOf(nodeId));
    const peers = peersOf(nodeId).map(({ key, ...peer }) => ({ ...peer, key: pairKey(key, nodeId) }));
    return { kind: 'liveness', heartbeatIntervalMs: heartbeatIntervalFor(nodes.size, baseIntervalMs), peers };
  }

  return {
    planFor,
    start: (dispatch) => {
      const tell = (): void => {
        look();
        if (seen === toldJudge) return;
        toldJudge = seen;
        judge.setNodes([...nodes.values()]);
        told = new Map([...told].filter(([nodeId]) => nodes.has(nodeId)));
        for (const [nodeId, text] of told) if (text !== textOf(nodeId)) dispatch.send(nodeId, planFor(nodeId));
      };
      let toldJudge: string | undefined;
      tell();
      mirror.onChange(tell);
      judge.askBy((nodeId, number) => void dispatch.send(nodeId, { kind: 'ping', number }));
    },
  };
}
