import { hkdfSync } from 'node:crypto';

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
