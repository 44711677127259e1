/** PURE: services as chains and map elements of table `ip frota`, and the smallest transaction between two of them. */
import { createHash } from 'node:crypto';
import type { ServiceUnit } from '../../proto/domain/assignment.ts';
import type { PublishedPort } from '../../proto/domain/service.ts';
import { serviceId } from '../../proto/domain/service.ts';
import { contains, parseAddress } from './addresses.ts';
import type { Subnet } from './addresses.ts';
import { refusalChain, ruleTable } from './base-rules.ts';

export interface ServiceRules {
  /** Name → its rules, in order. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** VIP → chain. */
  readonly vips: ReadonlyMap<string, string>;
  /** `tcp . 8080` → chain. */
  readonly published: ReadonlyMap<string, string>;
  /** Endpoints on this node: one that reaches itself through its VIP needs another source address. */
  readonly hairpins: ReadonlySet<string>;
  /** What two services claim at once; the first in order of their names has it. */
  readonly conflicts: readonly string[];
}

export const noRules: ServiceRules = {
  chains: new Map(),
  vips: new Map(),
  published: new Map(),
  hairpins: new Set(),
  conflicts: [],
};

/** nft takes 128 characters for a chain in a verdict; longer or unusual names are replaced by their hash. */
const plainName = /^[A-Za-z0-9._/-]{1,100}$/;

/**
 * A VIP serves every port of its endpoints; a published port leads to its target on them. Connections are spread
 * at random; without an endpoint they are refused.
 *
 * @throws FrotaError `invalid` when a VIP or an endpoint's address is none.
 */
export function serviceRules(services: readonly ServiceUnit[], nodeSubnet: Subnet): ServiceRules {
  const chains = new Map<string, readonly string[]>();
  const vips = new Map<string, string>();
  const published = new Map<string, string>();
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
      const chain = `vip/${plainName.test(id) ? id : hashOf(id)}`;
      vips.set(vip, chain);
      chains.set(chain, endpoints.length === 0 ? [`goto ${refusalChain}`] : [vipRule(endpoints)]);
    }
    for (const port of service.ports) {
      const key = `${port.protocol} . ${port.published}`;
      if (published.has(key)) conflicts.push(`port ${port.published}/${port.protocol} of ${id}`);
      else {
        const chain = `port/${port.protocol}/${port.published}`;
        published.set(key, chain);
        chains.set(chain, endpoints.length === 0 ? [`goto ${refusalChain}`] : [portRule(port, endpoints)]);
      }
    }
  }
  return { chains, vips, published, hairpins, conflicts };
}

const idOf = (service: ServiceUnit): string => serviceId(service.stack, service.name);

/** Sorted and without doubles, so that equal contents give equal text. */
const endpointAddresses = (service: ServiceUnit): readonly string[] =>
  [...new Set(service.endpoints.map((endpoint) => parseAddress(endpoint.address)))].sort(compareText);

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 32);

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

/**
 * Commands for `nft -f -` that lead from `before` to `after`; empty when nothing differs. Chains are made before the
 * elements that name them, and go after those have gone.
 */
export function ruleChanges(before: ServiceRules, after: ServiceRules): string {
  const lines: string[] = [];
  for (const [name, rules] of after.chains) {
    const known = before.chains.get(name);
    if (known !== undefined && sameRules(known, rules)) continue;
    lines.push(known === undefined ? `add chain ${ruleTable} ${name}` : `flush chain ${ruleTable} ${name}`);
    lines.push(...rules.map((rule) => `add rule ${ruleTable} ${name} ${rule}`));
  }
  lines.push(
    ...elementLines('vips', verdicts(before.vips), verdicts(after.vips)),
    ...elementLines('published', verdicts(before.published), verdicts(after.published)),
    ...elementLines('hairpins', pairs(before.hairpins), pairs(after.hairpins)),
  );
  for (const name of before.chains.keys()) {
    if (after.chains.has(name)) continue;
    lines.push(`flush chain ${ruleTable} ${name}`, `delete chain ${ruleTable} ${name}`);
  }
  return lines.map((line) => `${line}\n`).join('');
}

const sameRules = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((rule, index) => rule === b[index]);

const verdicts = (elements: ReadonlyMap<string, string>): ReadonlySet<string> =>
  new Set([...elements].map(([key, chain]) => `${key} : goto ${chain}`));

const pairs = (addresses: ReadonlySet<string>): ReadonlySet<string> =>
  new Set([...addresses].map((address) => `${address} . ${address}`));

function elementLines(name: string, before: ReadonlySet<string>, after: ReadonlySet<string>): readonly string[] {
  const gone = [...before].filter((element) => !after.has(element));
  const added = [...after].filter((element) => !before.has(element));
  return [
    ...(gone.length === 0 ? [] : [`delete element ${ruleTable} ${name} { ${gone.join(', ')} }`]),
    ...(added.length === 0 ? [] : [`add element ${ruleTable} ${name} { ${added.join(', ')} }`]),
  ];
}
