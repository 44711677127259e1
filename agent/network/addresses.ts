/** PURE: addresses of containers and nodes in the cluster network, and the names that follow from them. */
import { isIPv4 } from 'node:net';
import ipaddr from 'ipaddr.js';
import { FrotaError } from '../../proto/base/errors.ts';

export interface Subnet {
  /** First address as a number. */
  readonly base: number;
  readonly prefix: number;
}

/** The node itself has the first address of its subnet, containers have the following ones. */
const nodeOffset = 1;
const firstContainerOffset = 2;

/** @throws FrotaError `invalid` for anything but `a.b.c.d/n`. Host bits are cleared. */
export function parseSubnet(text: string): Subnet {
  if (!ipaddr.IPv4.isValidCIDRFourPartDecimal(text)) throw notIpv4(text, 'network such as 10.64.1.0/24');
  const [address, prefix] = ipaddr.IPv4.parseCIDR(text);
  const size = 2 ** (32 - prefix);
  return { base: Math.floor(toNumber(address.toString()) / size) * size, prefix };
}

/** @throws FrotaError `invalid` for anything but `a.b.c.d`, each written in one way only. */
export function parseAddress(text: string): string {
  if (!isIPv4(text)) throw notIpv4(text, 'address such as 192.168.1.7');
  return text;
}

const notIpv4 = (text: string, wanted: string): FrotaError =>
  new FrotaError('invalid', `'${text}' is not an IPv4 ${wanted}`);

export function formatSubnet(subnet: Subnet): string {
  return `${toText(subnet.base)}/${subnet.prefix}`;
}

export function contains(subnet: Subnet, address: string): boolean {
  const offset = toNumber(address) - subnet.base;
  return offset >= 0 && offset < 2 ** (32 - subnet.prefix);
}

/** The address of the node that owns `subnet`, on the overlay device of that node. */
export const overlayAddress = (subnet: Subnet): string => toText(subnet.base + nodeOffset);

/**
 * The next free address after `cursor`, round robin, so that one just freed is used last: a connection or a cache
 * entry that outlives its container must not reach a stranger.
 *
 * @throws FrotaError `exhausted` when every address of the subnet is taken.
 */
export function nextAddress(subnet: Subnet, taken: ReadonlySet<string>, cursor: string | undefined): string {
  const count = 2 ** (32 - subnet.prefix) - firstContainerOffset - 1;
  const first = subnet.base + firstContainerOffset;
  const after = cursor !== undefined && contains(subnet, cursor) ? toNumber(cursor) + 1 - first : 0;
  for (let step = 0; step < count; step += 1) {
    const address = toText(first + ((Math.max(0, after) + step) % count));
    if (!taken.has(address)) return address;
  }
  throw new FrotaError(
    'exhausted',
    `no address left for a container in this node's subnet ${formatSubnet(subnet)} (${taken.size} in use)`,
  );
}

/** Every host end has this one; the gateway address is answered by a permanent neighbour entry, never by ARP. */
export const gatewayMac = '02:fa:ff:ff:ff:ff';
/** Link-local, the same in every container: the way out of a routed veth without a bridge. */
export const gatewayAddress = '169.254.1.1';

/** A locally administered MAC that follows from the address, so that nobody has to ask for it. */
export function macOf(address: string): string {
  return ['02', 'fa', ...hex(address)].join(':');
}

/** What all host ends begin with; the rules match on it. */
export const vethPrefix = 'frv';

/** Name of the host end of a container's veth: 11 of the 15 characters a device may have. */
export const vethName = (address: string): string => `${vethPrefix}${hex(address).join('')}`;

const vethPattern = new RegExp(`^${vethPrefix}([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$`);

/** The container's address, or undefined when the device is not one of ours. */
export function addressOfVeth(name: string): string | undefined {
  return vethPattern
    .exec(name)
    ?.slice(1)
    .map((part) => String(Number.parseInt(part, 16)))
    .join('.');
}

function hex(address: string): readonly string[] {
  return bytes(address).map((byte) => byte.toString(16).padStart(2, '0'));
}

const bytes = (address: string): readonly number[] => address.split('.').map(Number);

function toNumber(address: string): number {
  return bytes(address).reduce((sum, byte) => sum * 256 + byte, 0);
}

function toText(value: number): string {
  return [24, 16, 8, 0].map((shift) => String(Math.floor(value / 2 ** shift) % 256)).join('.');
}
