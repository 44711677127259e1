import { createHmac, hkdfSync } from 'node:crypto';
import { pairKeyText } from '../../proto/codec/datagram.ts';

/** HMAC-SHA256 keys need no more than the hash's own length. */
const livenessKeyBytes = 32;

/**
 * The key of the datagrams between the controllers and one node (HKDF-SHA256, RFC 5869): each node gets only its own,
 * and any controller that knows the cluster's secret can make it.
 */
export function livenessKey(clusterSecret: Uint8Array, nodeId: string): Uint8Array {
  const info = `frota liveness v1 controller ${nodeId}`;
  return new Uint8Array(hkdfSync('sha256', clusterSecret, new Uint8Array(), info, livenessKeyBytes));
}

/**
 * The key of the datagrams between two agents when `asker` probes the node that has `key`. The node makes it out of its own
 * key, the asker is given it, and nobody else can make it: so each holds one secret of its own and those of its peers.
 */
export function pairKey(key: Uint8Array, asker: string): Uint8Array {
  return new Uint8Array(createHmac('sha256', key).update(pairKeyText(asker)).digest());
}
