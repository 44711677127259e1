/** PURE: the rules of the two faults that are made of lost packets, as text for nft. A table of their own, so that to undo is to delete it. */
import type { DrillKind } from '../../proto/domain/drill.ts';

export interface ControllerPlace {
  /** IP address. */
  readonly address: string;
  /** TCP: control and join. */
  readonly ports: readonly number[];
  /** UDP. */
  readonly livenessPort: number;
}

/** Ids are lower-case letters and digits. */
export const faultTable = (drillId: string): string => `frota_drill_${drillId}`;

/** Before connection tracking, before everybody else's rules. */
const priority = -400;

/**
 * Nothing passes the uplink any more, in neither direction, but the word that ends the drill: `stopPort` is the door that
 * is left open, inwards only, and behind it is nobody but the process that undoes all this.
 */
export function cutLink(drillId: string, uplink: string, stopPort: number): string {
  return table(drillId, [
    ['arriving', 'prerouting', [`udp dport ${String(stopPort)} accept`, `iifname "${uplink}" drop`]],
    ['leaving', 'postrouting', [`oifname "${uplink}" drop`]],
  ]);
}

/** What agents and controllers tell each other is dropped, heartbeats and probes too; nodes and containers reach each other. */
export function cutController(drillId: string, controller: ControllerPlace, ownLivenessPort: number): string {
  const family = controller.address.includes(':') ? 'ip6' : 'ip';
  const ports = `{ ${controller.ports.join(', ')} }`;
  const from = `${family} saddr ${controller.address}`;
  const to = `${family} daddr ${controller.address}`;
  return table(drillId, [
    [
      'arriving',
      'prerouting',
      [`${from} tcp sport ${ports} drop`, `${from} udp dport ${String(ownLivenessPort)} drop`],
    ],
    ['leaving', 'output', [`${to} tcp dport ${ports} drop`, `${to} udp dport ${String(controller.livenessPort)} drop`]],
  ]);
}

function table(drillId: string, chains: readonly (readonly [string, string, readonly string[]])[]): string {
  const text = chains.map(([name, hook, rules]) => {
    const lines = [`type filter hook ${hook} priority ${String(priority)}; policy accept;`, ...rules];
    return `  chain ${name} {\n${lines.map((line) => `    ${line}\n`).join('')}  }\n`;
  });
  return `table inet ${faultTable(drillId)} {\n${text.join('')}}\n`;
}

/** Faults that something has to be done against. A killed container is replaced by the cluster, in the cluster's own way. */
export const needsUndo = (kind: DrillKind): boolean => kind !== 'container-kill';
