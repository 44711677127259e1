/** PURE: who is on which network, as this node knows it: from the services' units, and of its own containers at first hand. */
import type { ServiceUnit } from '../../proto/domain/assignment.ts';
import { contains, parseAddress } from './addresses.ts';
import type { Subnet } from './addresses.ts';
import type { Attachment } from './network.ts';

export interface Membership {
  /** Each container of this node → its networks, sorted and without doubles. */
  readonly residents: ReadonlyMap<string, readonly string[]>;
  /** The networks of this node's containers → all addresses on them, here and elsewhere. */
  readonly networks: ReadonlyMap<string, ReadonlySet<string>>;
  /** Addresses of which any network is known. */
  readonly known: ReadonlySet<string>;
}

/**
 * What an address of this node's own subnet belongs to is known from the moment it is given, long before a controller
 * has told anybody: units count there only for containers of which nothing was recorded.
 *
 * @throws FrotaError `invalid` when a member's address is none.
 */
export function membershipOf(
  services: readonly ServiceUnit[],
  attachments: readonly Attachment[],
  nodeSubnet: Subnet,
): Membership {
  const known = new Set<string>();
  const networks = new Map<string, Set<string>>();
  const fromUnits = new Map<string, Set<string>>();
  const remote: { readonly address: string; readonly names: readonly string[] }[] = [];
  for (const service of services) {
    const names = service.networks.map(({ network }) => network);
    for (const member of service.members) {
      const address = parseAddress(member.address);
      if (!contains(nodeSubnet, address)) remote.push({ address, names });
      else fromUnits.set(address, new Set([...(fromUnits.get(address) ?? []), ...names]));
    }
  }
  const residents = new Map<string, readonly string[]>();
  for (const { address, place } of attachments) {
    const names = place?.networks ?? [...(fromUnits.get(address) ?? [])];
    residents.set(address, [...new Set(names)].sort());
    if (names.length > 0) known.add(address);
    for (const name of names) networks.set(name, (networks.get(name) ?? new Set()).add(address));
  }
  for (const { address, names } of remote) {
    if (names.length > 0) known.add(address);
    for (const name of names) networks.get(name)?.add(address);
  }
  return { residents, networks, known };
}
