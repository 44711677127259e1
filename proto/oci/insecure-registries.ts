/** Which registries may be spoken to without a trusted certificate, or over plain HTTP: Docker's `insecure-registries`. */
import { BlockList, isIP } from 'node:net';
import { FrotaError } from '../base/errors.ts';

export interface InsecureRegistries {
  /** `authority` is `host` or `host:port`. */
  has(authority: string): boolean;
}

/** Nobody else listens on these; Docker always trusts them too. */
const loopback: readonly [string, number, 'ipv4' | 'ipv6'][] = [
  ['127.0.0.0', 8, 'ipv4'],
  ['::1', 128, 'ipv6'],
];

/**
 * `entries` are `host`, `host:port` or, for registries named by address, CIDR blocks; an entry without a port holds
 * for every port. Loopback addresses and `localhost` are always included. Names are compared, never looked up.
 * @throws FrotaError `invalid` for an entry that is none of these.
 */
export function insecureRegistries(entries: readonly string[]): InsecureRegistries {
  const blocks = new BlockList();
  for (const [net, prefix, family] of loopback) blocks.addSubnet(net, prefix, family);
  const names = new Set<string>();
  for (const entry of entries) {
    if (entry.includes('/')) addBlock(blocks, entry);
    else names.add(checkName(entry));
  }
  return {
    has: (authority) => {
      const lower = authority.toLowerCase();
      const host = hostOf(lower);
      if (names.has(lower) || names.has(host) || host === 'localhost') return true;
      const family = isIP(host);
      return family !== 0 && blocks.check(host, family === 6 ? 'ipv6' : 'ipv4');
    },
  };
}

/** The host of `host[:port]`, IPv6 addresses without their brackets. */
export function hostOf(authority: string): string {
  const bracket = /^\[(.*)\](?::\d+)?$/.exec(authority);
  return bracket?.[1] ?? authority.replace(/:\d+$/, '');
}

function addBlock(blocks: BlockList, entry: string): void {
  const slash = entry.lastIndexOf('/');
  const [address, prefix] = [entry.slice(0, slash), Number(entry.slice(slash + 1))];
  const family = isIP(address);
  if (family === 0 || !/\/\d+$/.test(entry) || prefix > (family === 6 ? 128 : 32)) {
    throw new FrotaError(
      'invalid',
      `insecure registry "${entry}" is not an address block; write, for example, 10.0.0.0/8`,
    );
  }
  blocks.addSubnet(address, prefix, family === 6 ? 'ipv6' : 'ipv4');
}

function checkName(entry: string): string {
  const host = hostOf(entry);
  if (isIP(host) !== 0 || /^[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?$/.test(host)) {
    return isIP(entry) === 6 ? entry.toLowerCase() : entry.toLowerCase().replace(/^\[([^\]]*)\]$/, '$1');
  }
  throw new FrotaError('invalid', `insecure registry "${entry}" is not host, host:port or an address block`);
}
