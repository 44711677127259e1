/** PURE: each node's own part of the container pool. */
import { assert } from '../../proto/base/assert.ts';
import { FrotaError } from '../../proto/base/errors.ts';

/** A /24 a node: 253 containers, and 4,096 nodes in the default pool. */
export const nodeSubnetPrefix = 24;

export interface Cidr {
  /** First address, as an unsigned 32-bit number. */
  readonly first: number;
  readonly prefix: number;
}

/** @throws FrotaError `invalid` for anything but an IPv4 network in CIDR form whose host bits are zero. */
export function parseCidr(text: string): Cidr {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const numbers = match?.slice(1).map(Number) ?? [];
  const [a = 256, b = 256, c = 256, d = 256, prefix = 33] = numbers;
  if (prefix > 32 || [a, b, c, d].some((octet) => octet > 255)) {
    throw new FrotaError('invalid', `"${text}" is not an IPv4 network; write it like 10.64.0.0/12`);
  }
  const first = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  if (first % 2 ** (32 - prefix) !== 0) {
    throw new FrotaError(
      'invalid',
      `"${text}" has host bits set; the network is ${formatCidr({ first: first - (first % 2 ** (32 - prefix)), prefix })}`,
    );
  }
  return { first, prefix };
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => String((address >>> shift) & 255)).join('.');
}

export const formatCidr = ({ first, prefix }: Cidr): string => `${formatAddress(first)}/${String(prefix)}`;

export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.first < b.first + 2 ** (32 - b.prefix) && b.first < a.first + 2 ** (32 - a.prefix);
}

/** False for what is no IPv4 address. */
export function contains({ first, prefix }: Cidr, address: string): boolean {
  try {
    const { first: at } = parseCidr(`${address}/32`);
    return at >= first && at < first + 2 ** (32 - prefix);
  } catch {
    return false;
  }
}

/** Which of the pool's node subnets this is, from 0: a small number that is the node's own for its life. */
export function subnetOrdinal(pool: string, subnet: string): number {
  return (parseCidr(subnet).first - parseCidr(pool).first) / 2 ** (32 - nodeSubnetPrefix);
}

/** The first free node subnet. @throws FrotaError `exhausted` when the pool has none left. */
export function freeSubnet(pool: string, taken: readonly string[]): string {
  const { first, prefix } = parseCidr(pool);
  assert(prefix <= nodeSubnetPrefix, `container pool ${pool} is smaller than one node's part`);
  const used = new Set(taken);
  const size = 2 ** (32 - nodeSubnetPrefix);
  for (let at = first; at < first + 2 ** (32 - prefix); at += size) {
    const subnet = formatCidr({ first: at, prefix: nodeSubnetPrefix });
    if (!used.has(subnet)) return subnet;
  }
  throw new FrotaError(
    'exhausted',
    `the container pool ${pool} has no /${String(nodeSubnetPrefix)} left for another node; start the cluster with a larger --container-pool`,
  );
}
