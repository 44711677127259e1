/**
 * PURE: the overlay as it must be, as `ip -json` shows it, and the commands that lead from one to the other. A static
 * VXLAN: who has which MAC and where it is are permanent entries, so nothing is learned, flooded or asked for.
 */
import type { NetworkUnit } from '../../proto/domain/assignment.ts';
import { formatSubnet, macOf, overlayAddress, parseAddress, parseSubnet } from './addresses.ts';

export const overlayDevice = 'frota0';

/** What the outer Ethernet, IPv4, UDP and VXLAN headers take from a packet. */
export const vxlanOverheadBytes = 50;

export interface OverlayRoute {
  /** Absent: the device itself. */
  readonly gateway?: string;
}

export interface Overlay {
  readonly device: {
    readonly mac: string;
    readonly mtu: number;
    readonly vni: number;
    readonly port: number;
    /** The underlay address it sends from; absent when the node's address is not its own (behind a translator). */
    readonly local?: string;
  };
  /** The node's own address, which is also the source of what the node itself sends into the overlay. */
  readonly address: string;
  /** Overlay address of a peer → its MAC. */
  readonly neighbours: ReadonlyMap<string, string>;
  /** MAC of a peer → its underlay address. */
  readonly forwarding: ReadonlyMap<string, string>;
  readonly routes: ReadonlyMap<string, OverlayRoute>;
}

export interface OverlaySettings {
  readonly nodeSubnet: string;
  readonly vni: number;
  readonly port: number;
  readonly mtu: number;
  readonly local: string | undefined;
}

/** @throws FrotaError `invalid` when a pool, a peer's subnet or its address is none. */
export function wantedOverlay(network: NetworkUnit, settings: OverlaySettings): Overlay {
  const own = parseSubnet(settings.nodeSubnet);
  const address = overlayAddress(own);
  const neighbours = new Map<string, string>();
  const forwarding = new Map<string, string>();
  const routes = new Map<string, OverlayRoute>([
    // Neither range leads anywhere by itself: what rules and host routes of containers do not take is refused here.
    [formatSubnet(parseSubnet(network.vipPool)), {}],
    [formatSubnet(own), {}],
  ]);
  for (const peer of network.peers) {
    const subnet = parseSubnet(peer.subnet);
    if (formatSubnet(subnet) === formatSubnet(own)) continue;
    const gateway = overlayAddress(subnet);
    neighbours.set(gateway, macOf(gateway));
    forwarding.set(macOf(gateway), parseAddress(peer.address));
    routes.set(formatSubnet(subnet), { gateway });
  }
  const { vni, port, mtu, local } = settings;
  const device = { mac: macOf(address), mtu, vni, port, ...(local === undefined ? {} : { local }) };
  return { device, address, neighbours, forwarding, routes };
}

export interface ObservedOverlay {
  readonly device?: {
    readonly mac: string;
    readonly mtu: number;
    readonly up: boolean;
    readonly vni: number | undefined;
    readonly port: number | undefined;
    readonly local: string | undefined;
    readonly learning: boolean;
  };
  readonly addresses: readonly string[];
  readonly neighbours: ReadonlyMap<string, string>;
  /** A MAC may have several targets, and each is an entry of its own. */
  readonly forwarding: readonly { readonly mac: string; readonly target: string }[];
  readonly routes: ReadonlyMap<string, OverlayRoute & { readonly source?: string }>;
}

export const noOverlay: ObservedOverlay = {
  addresses: [],
  neighbours: new Map(),
  forwarding: [],
  routes: new Map(),
};

export interface OverlayChanges {
  /** Lines for `ip -batch -`, in order. */
  readonly ip: readonly string[];
  /** Lines for `bridge -batch -`, after the others. */
  readonly bridge: readonly string[];
}

export function overlayChanges(wanted: Overlay, observed: ObservedOverlay): OverlayChanges {
  const usable = observed.device !== undefined && sameTunnel(wanted, observed.device);
  const from = usable ? observed : noOverlay;
  const remove = observed.device !== undefined && !usable ? [`link delete dev ${overlayDevice}`] : [];
  return {
    ip: [
      ...remove,
      ...deviceLines(wanted, from),
      ...addressLines(wanted, from),
      ...routeRemovals(wanted, from),
      ...neighbourLines(wanted, from),
      ...routeAdditions(wanted, from),
    ],
    bridge: forwardingLines(wanted, from),
  };
}

/** These can't be changed on a living device. */
function sameTunnel({ device }: Overlay, observed: NonNullable<ObservedOverlay['device']>): boolean {
  return (
    observed.vni === device.vni &&
    observed.port === device.port &&
    observed.local === device.local &&
    !observed.learning
  );
}

function deviceLines({ device }: Overlay, observed: ObservedOverlay): readonly string[] {
  const lines: string[] = [];
  const known = observed.device;
  if (known === undefined) {
    const local = device.local === undefined ? '' : ` local ${device.local}`;
    lines.push(
      `link add ${overlayDevice} address ${device.mac} mtu ${device.mtu} ` +
        `type vxlan id ${device.vni}${local} dstport ${device.port} nolearning`,
      `link set dev ${overlayDevice} addrgenmode none`,
    );
  } else {
    if (known.mac !== device.mac) lines.push(`link set dev ${overlayDevice} address ${device.mac}`);
    if (known.mtu !== device.mtu) lines.push(`link set dev ${overlayDevice} mtu ${device.mtu}`);
  }
  if (known?.up !== true) lines.push(`link set dev ${overlayDevice} up`);
  return lines;
}

function addressLines(wanted: Overlay, observed: ObservedOverlay): readonly string[] {
  const own = `${wanted.address}/32`;
  const stale = observed.addresses.filter((address) => address !== own);
  return [
    ...(observed.addresses.includes(own) ? [] : [`address add ${own} dev ${overlayDevice}`]),
    ...stale.map((address) => `address delete ${address} dev ${overlayDevice}`),
  ];
}

function neighbourLines(wanted: Overlay, observed: ObservedOverlay): readonly string[] {
  const gone = [...observed.neighbours.keys()].filter((address) => !wanted.neighbours.has(address));
  const changed = [...wanted.neighbours].filter(([address, mac]) => observed.neighbours.get(address) !== mac);
  return [
    ...gone.map((address) => `neighbour delete ${address} dev ${overlayDevice}`),
    ...changed.map(([address, mac]) => `neighbour replace ${address} lladdr ${mac} dev ${overlayDevice} nud permanent`),
  ];
}

function routeRemovals(wanted: Overlay, observed: ObservedOverlay): readonly string[] {
  return [...observed.routes.keys()]
    .filter((target) => !wanted.routes.has(target))
    .map((target) => `route delete ${target} dev ${overlayDevice}`);
}

function routeAdditions(wanted: Overlay, observed: ObservedOverlay): readonly string[] {
  const changed = [...wanted.routes].filter(([target, route]) => {
    const known = observed.routes.get(target);
    return known === undefined || known.gateway !== route.gateway || known.source !== wanted.address;
  });
  return changed.map(([target, { gateway }]) => {
    const via = gateway === undefined ? '' : ` via ${gateway}`;
    const onlink = gateway === undefined ? '' : ' onlink';
    return `route replace ${target}${via} dev ${overlayDevice}${onlink} src ${wanted.address}`;
  });
}

function forwardingLines(wanted: Overlay, observed: ObservedOverlay): readonly string[] {
  const gone = observed.forwarding.filter(({ mac, target }) => wanted.forwarding.get(mac) !== target);
  const missing = [...wanted.forwarding].filter(
    ([mac, target]) => !observed.forwarding.some((entry) => entry.mac === mac && entry.target === target),
  );
  return [
    ...gone.map(({ mac, target }) => `fdb delete ${mac} dev ${overlayDevice} dst ${target} self`),
    ...missing.map(([mac, target]) => `fdb append ${mac} dev ${overlayDevice} dst ${target} self permanent`),
  ];
}
