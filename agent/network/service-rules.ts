/** PURE: services as chains and map elements of table `ip frota`. */
import { isConfined } from '../../proto/domain/assignment.ts';
import type { NetworkUnit, ServiceUnit } from '../../proto/domain/assignment.ts';
import type { PublishedPort } from '../../proto/domain/service.ts';
import { serviceId } from '../../proto/domain/service.ts';
import { contains, parseAddress } from './addresses.ts';
import type { Subnet } from './addresses.ts';
import { refusalChain } from './base-rules.ts';
import { ruleName, verdicts } from './rule-changes.ts';
import type { Rules } from './rule-changes.ts';

export interface ServiceRules extends Rules {
  /** What two services claim at once; the first in order of their names has it. */
  readonly conflicts: readonly string[];
}

/**
 * A VIP serves every port of its endpoints; a published port leads to its target on them. Connections are spread
 * at random; without an endpoint they are refused. As in Docker, nothing is published of a service whose networks are
 * all internal: its ports are refused.
 *
 * @throws FrotaError `invalid` when a VIP or an endpoint's address is none.
 */
export function serviceRules(
  services: readonly ServiceUnit[],
  nodeSubnet: Subnet,
  network: Pick<NetworkUnit, 'internal'>,
): ServiceRules {
  const chains = new Map<string, readonly string[]>();
  const vips = new Map<string, string>();
  const ports = new Map<string, string>();
  /** Endpoints on this node: one that reaches itself through its VIP needs another source address. */
  const hairpins = new Set<string>();
  const conflicts: string[] = [];
  const sorted = [...services].sort((a, b) => compareText(idOf(a), idOf(b)));
  for (const service of sorted) {
    const id = idOf(service);
    const endpoints = endpointAddresses(service);
    for (const address of endpoints) if (contains(nodeSubnet, address)) hairpins.add(address);
    const vip = parseAddress(service.vip);
    if (vips.has(vip)) conflicts.push(`VIP ${vip} of ${id}`);
    else {
      const chain = ruleName('vip', id);
      vips.set(vip, chain);
      chains.set(chain, endpoints.length === 0 ? [`goto ${refusalChain}`] : [vipRule(endpoints)]);
    }
    const published = isConfined(networkNames(service), network) ? [] : endpoints;
    for (const port of service.ports) {
      const key = `${port.protocol} . ${port.published}`;
      if (ports.has(key)) conflicts.push(`port ${port.published}/${port.protocol} of ${id}`);
      else {
        const chain = `port/${port.protocol}/${port.published}`;
        ports.set(key, chain);
        chains.set(chain, published.length === 0 ? [`goto ${refusalChain}`] : [portRule(port, published)]);
      }
    }
  }
  const elements = new Map([
    ['vips', verdicts(vips)],
    ['published', verdicts(ports)],
    ['hairpins', new Set([...hairpins].map((address) => `${address} . ${address}`))],
  ]);
  return { chains, sets: new Map(), elements, conflicts };
}

const networkNames = (service: ServiceUnit): readonly string[] => service.networks.map(({ network }) => network);

const idOf = (service: ServiceUnit): string => serviceId(service.stack, service.name);

/** Sorted and without doubles, so that equal contents give equal text. */
const endpointAddresses = (service: ServiceUnit): readonly string[] =>
  [...new Set(service.endpoints.map((endpoint) => parseAddress(endpoint.address)))].sort(compareText);

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function vipRule(endpoints: readonly string[]): string {
  return `dnat to ${spread(endpoints)}`;
}

/** nft wants the protocol named before a port is translated. */
function portRule(port: PublishedPort, endpoints: readonly string[]): string {
  const targets = endpoints.map((address) => `${address} . ${port.target}`);
  const single = `${endpoints[0] ?? ''}:${port.target}`;
  return `meta l4proto ${port.protocol} dnat ip to ${targets.length === 1 ? single : spread(targets)}`;
}

function spread(targets: readonly string[]): string {
  if (targets.length === 1) return targets[0] ?? '';
  const entries = targets.map((target, index) => `${index} : ${target}`).join(', ');
  return `numgen random mod ${targets.length} map { ${entries} }`;
}
