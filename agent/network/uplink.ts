/**
 * PURE: the routes of the device by which this node reaches the others. When a link goes down the kernel drops every
 * route on it, and restores only the one to its own subnet when it comes back; the others are remembered here.
 */
import type { LinkJson, NetworkReading, RouteJson } from './overlay-reading.ts';
import { overlayDevice } from './overlay.ts';

/** What tells one life of a device from another: ids of namespaces and devices are given again after a restart. */
export interface UplinkIdentity {
  readonly bootId: string;
  /** `net:[4026531840]`. */
  readonly namespace: string;
  readonly device: string;
  readonly ifindex: number;
}

/** Durable. */
export interface RememberedUplink {
  readonly version: 1;
  readonly identity: UplinkIdentity;
  /** The kernel's count of the link's ups and downs when `routes` were read. */
  readonly carrierChanges: number;
  readonly routes: readonly RouteJson[];
}

export interface ObservedUplink {
  readonly identity: UplinkIdentity;
  readonly up: boolean;
  readonly mtu: number;
  readonly carrierChanges: number;
  readonly routes: readonly RouteJson[];
}

/** The device that has the node's address, or, behind a translator, the one of the default route. */
export function findUplink(reading: NetworkReading, nodeAddress: string): LinkJson | undefined {
  const has = (link: LinkJson): boolean =>
    link.ifname !== overlayDevice && (link.addr_info ?? []).some((address) => address.local === nodeAddress);
  const defaultDevice = reading.routes.find((route) => route.dst === 'default')?.dev;
  return reading.links.find(has) ?? reading.links.find((link) => link.ifname === defaultDevice);
}

export function observeUplink(
  link: LinkJson,
  routes: readonly RouteJson[],
  where: Pick<UplinkIdentity, 'bootId' | 'namespace'>,
): ObservedUplink {
  return {
    identity: { ...where, device: link.ifname, ifindex: link.ifindex },
    up: link.flags.includes('UP') && link.flags.includes('LOWER_UP'),
    mtu: link.mtu,
    carrierChanges: link.stats64?.tx?.carrier_changes ?? 0,
    routes: routes.filter((route) => route.dev === link.ifname && isRestorable(route)),
  };
}

/** Not the kernel's own, which it restores itself, and not those with several next hops, which have no `dev`. */
const isRestorable = (route: RouteJson): boolean =>
  route.protocol !== 'kernel' && (route.type === undefined || route.type === 'unicast') && !route.dst.includes(':');

export interface UplinkDecision {
  readonly restore: readonly RouteJson[];
  /** What to remember once `restore` is done; absent while the link is down, when nothing can be learned. */
  readonly remember?: RememberedUplink;
}

/**
 * Routes that are missing although the link has never gone down were removed by a person, and stay removed. A route
 * to the same destination that someone else has set meanwhile is left alone.
 */
export function decideUplink(
  remembered: RememberedUplink | undefined,
  observed: ObservedUplink,
  seenDown: boolean,
): UplinkDecision {
  if (!observed.up) return { restore: [] };
  const current = (routes: readonly RouteJson[]): RememberedUplink => ({
    version: 1,
    identity: observed.identity,
    carrierChanges: observed.carrierChanges,
    routes,
  });
  const known = remembered !== undefined && sameIdentity(remembered.identity, observed.identity);
  if (!known || (!seenDown && remembered.carrierChanges === observed.carrierChanges)) {
    return { restore: [], remember: current(observed.routes) };
  }
  const present = new Set(observed.routes.map((route) => route.dst));
  const restore = remembered.routes.filter((route) => !present.has(route.dst));
  return { restore, remember: current([...observed.routes, ...restore]) };
}

export function sameIdentity(a: UplinkIdentity, b: UplinkIdentity): boolean {
  return a.bootId === b.bootId && a.namespace === b.namespace && a.device === b.device && a.ifindex === b.ifindex;
}

/** Line for `ip -batch -`. */
export function routeLine(route: RouteJson): string {
  const parts: readonly (readonly [string, string | number | undefined])[] = [
    ['via', route.gateway],
    ['dev', route.dev],
    ['proto', route.protocol],
    ['scope', route.scope],
    ['src', route.prefsrc],
    ['metric', route.metric],
  ];
  const words = parts.flatMap(([word, value]) => (value === undefined ? [] : [`${word} ${value}`]));
  const onlink = route.flags?.includes('onlink') === true ? ' onlink' : '';
  return `route add ${route.dst} ${words.join(' ')}${onlink}`;
}

/** What changes in `/proc/net/route` when the link of `device` or its routes do. */
export function routeFingerprint(procNetRoute: string, device: string): string {
  return procNetRoute
    .split('\n')
    .filter((line) => line.startsWith(`${device}\t`))
    .join('\n');
}
