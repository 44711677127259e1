/** Who may do what: the role stands in the certificate's organization, which only the cluster's CA can have put there. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { Peer } from '../../proto/rpc/context.ts';

export type Role = 'admin' | 'node';

const organizations: Readonly<Record<Role, string>> = { admin: 'frota:admin', node: 'frota:node' };

export const organizationOf = (role: Role): string => organizations[role];

/** @throws FrotaError `unauthenticated` without a certificate, `forbidden` with one of another role. */
export function requireRole(peer: Peer | undefined, role: Role): Peer {
  if (peer === undefined) throw new FrotaError('unauthenticated', 'this call needs a certificate of the cluster');
  if (peer.organization === organizations[role] && peer.commonName !== '') return peer;
  const holder = `"${peer.commonName}" (${peer.organization === '' ? 'no role' : peer.organization})`;
  throw new FrotaError('forbidden', `this call is for ${organizations[role]} only; the certificate is of ${holder}`);
}
