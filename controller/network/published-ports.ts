/** PURE: which port every node serves for each declared one. A port belongs to one service of the whole cluster. */
import type { Problem } from '../../proto/base/errors.ts';
import type { PortSpec, PublishedPort } from '../../proto/domain/service.ts';
import { hashNumber } from './vips.ts';

/** Swarm's range for chosen ports; it lies below Linux's own range for outgoing connections (32768–60999). */
export const firstChosenPort = 30_000;
export const lastChosenPort = 32_767;

export interface PortClaim {
  /** `stack/service`. */
  readonly id: string;
  /** As declared now; none if the service is no longer declared. */
  readonly wanted: readonly PortSpec[];
  /** As its record has them. */
  readonly held: readonly PublishedPort[];
}

export interface PortAssignment {
  /** By `stack/service`, in the order declared. */
  readonly ports: ReadonlyMap<string, readonly PublishedPort[]>;
  /** Ports that another service holds: left out, and tried again in each pass. */
  readonly problems: readonly Problem[];
}

/** Who has a port keeps it as long as it is declared; then fixed ports are given, then the others chosen. */
export function assignPorts(claims: readonly PortClaim[], hash: (text: string) => string): PortAssignment {
  const owners = new Map<string, string>();
  const problems: Problem[] = [];
  const slots = claims.map((claim) => ({ claim, ports: keepHeld(claim, owners) }));
  for (const { claim, ports } of slots) {
    claim.wanted.forEach(({ target, published, protocol }, index) => {
      if (ports[index] !== undefined || published === undefined) return;
      const owner = owners.get(portKey(published, protocol));
      if (owner === undefined) {
        owners.set(portKey(published, protocol), claim.id);
        ports[index] = { target, published, protocol };
      } else {
        const message = `port ${String(published)}/${protocol} is published by ${owner}; publish another one`;
        problems.push({ where: claim.id, message });
      }
    });
  }
  for (const { claim, ports } of slots) {
    claim.wanted.forEach((wanted, index) => {
      if (ports[index] !== undefined || wanted.published !== undefined) return;
      const port = choose(claim.id, wanted, owners, hash);
      if (port !== undefined) ports[index] = port;
      else
        problems.push({ where: claim.id, message: `no ${wanted.protocol} port is free for ${String(wanted.target)}` });
    });
  }
  const assigned = slots.map(({ claim, ports }) => [claim.id, ports.filter((port) => port !== undefined)] as const);
  return { ports: new Map(assigned), problems };
}

/** The held ports that still serve a declared one, at that one's index. */
function keepHeld({ id, wanted, held }: PortClaim, owners: Map<string, string>): (PublishedPort | undefined)[] {
  const left = [...held];
  const fixed = new Set(wanted.flatMap((port) => (port.published === undefined ? [] : [port.published])));
  return wanted.map(({ target, published, protocol }) => {
    const index = left.findIndex((port) => {
      if (port.target !== target || port.protocol !== protocol) return false;
      if (published !== undefined) return port.published === published;
      return isChosen(port.published) && !fixed.has(port.published);
    });
    const [port] = index === -1 ? [] : left.splice(index, 1);
    if (port === undefined || owners.has(portKey(port.published, protocol))) return undefined;
    owners.set(portKey(port.published, protocol), id);
    return port;
  });
}

function choose(
  id: string,
  { target, protocol }: PortSpec,
  owners: Map<string, string>,
  hash: (text: string) => string,
): PublishedPort | undefined {
  const count = lastChosenPort - firstChosenPort + 1;
  const start = hashNumber(hash(`${id}:${String(target)}/${protocol}`));
  for (let step = 0; step < count; step += 1) {
    const published = firstChosenPort + ((start + step) % count);
    if (owners.has(portKey(published, protocol))) continue;
    owners.set(portKey(published, protocol), id);
    return { target, published, protocol };
  }
  return undefined;
}

const isChosen = (port: number): boolean => port >= firstChosenPort && port <= lastChosenPort;

export const portKey = (published: number, protocol: string): string => `${String(published)}/${protocol}`;
