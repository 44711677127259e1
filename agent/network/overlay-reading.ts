/** PURE: what `ip -json` and `bridge -json` (iproute2 6.1) print, as the state of this node's network. */
import { FrotaError } from '../../proto/base/errors.ts';
import { noOverlay, overlayDevice } from './overlay.ts';
import type { ObservedOverlay } from './overlay.ts';

/** Lines for `ip -json -details -statistics -statistics -batch -`; each prints one line with one array. */
export const readingLines = ['address show', 'neighbour show nud permanent', 'route show table main'] as const;

export interface LinkJson {
  readonly ifindex: number;
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly address?: string;
  readonly linkinfo?: { readonly info_kind?: string; readonly info_data?: VxlanJson };
  readonly addr_info?: readonly { readonly family: string; readonly local?: string; readonly prefixlen: number }[];
  readonly stats64?: { readonly tx?: { readonly carrier_changes?: number } };
}

interface VxlanJson {
  readonly id?: number;
  readonly port?: number;
  readonly local?: string;
  readonly learning?: boolean;
}

export interface NeighbourJson {
  readonly dst: string;
  readonly dev?: string;
  readonly lladdr?: string;
}

export interface RouteJson {
  readonly type?: string;
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly protocol?: string;
  readonly scope?: string;
  readonly prefsrc?: string;
  readonly metric?: number;
  readonly flags?: readonly string[];
}

export interface ForwardingJson {
  readonly mac: string;
  readonly dst?: string;
}

export interface NetworkReading {
  readonly links: readonly LinkJson[];
  readonly neighbours: readonly NeighbourJson[];
  readonly routes: readonly RouteJson[];
}

/** @throws FrotaError `unsupported` when the output is not three arrays, as another iproute2 might print it. */
export function parseReading(output: string): NetworkReading {
  const [links, neighbours, routes] = output
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map(parseArray);
  if (links === undefined || neighbours === undefined || routes === undefined) {
    throw new FrotaError('unsupported', "'ip -json -batch -' printed something else than one array a command");
  }
  return {
    links: links as readonly LinkJson[],
    neighbours: neighbours as readonly NeighbourJson[],
    routes: routes as readonly RouteJson[],
  };
}

export function parseForwarding(output: string): readonly ForwardingJson[] {
  return parseArray(output) as readonly ForwardingJson[];
}

function parseArray(text: string): readonly unknown[] {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value)) return value as readonly unknown[];
  } catch (error) {
    throw new FrotaError('unsupported', `iproute2 printed no JSON: ${text.slice(0, 80)}`, { cause: error });
  }
  throw new FrotaError('unsupported', `iproute2 printed no array: ${text.slice(0, 80)}`);
}

export function observedOverlay(reading: NetworkReading, forwarding: readonly ForwardingJson[]): ObservedOverlay {
  const link = reading.links.find((each) => each.ifname === overlayDevice);
  if (link === undefined) return noOverlay;
  const vxlan = link.linkinfo?.info_data;
  return {
    device: {
      mac: link.address ?? '',
      mtu: link.mtu,
      up: link.flags.includes('UP'),
      vni: vxlan?.id,
      port: vxlan?.port,
      local: vxlan?.local,
      learning: vxlan?.learning ?? true,
    },
    addresses: (link.addr_info ?? [])
      .filter((address) => address.family === 'inet' && address.local !== undefined)
      .map((address) => `${address.local ?? ''}/${address.prefixlen}`),
    neighbours: new Map(
      reading.neighbours
        .filter((neighbour) => neighbour.dev === overlayDevice && !neighbour.dst.includes(':'))
        .map((neighbour) => [neighbour.dst, neighbour.lladdr ?? '']),
    ),
    forwarding: forwarding.flatMap(({ mac, dst }) => (dst === undefined ? [] : [{ mac, target: dst }])),
    routes: new Map(
      reading.routes
        .filter((route) => route.dev === overlayDevice)
        .map((route) => [
          route.dst,
          {
            ...(route.gateway === undefined ? {} : { gateway: route.gateway }),
            ...(route.prefsrc === undefined ? {} : { source: route.prefsrc }),
          },
        ]),
    ),
  };
}
