/**
 * PURE: networks apart from each other, as chains and sets of table `ip frota`. A container's packets are judged where
 * it runs: they reach addresses that share a network with it. Where they arrive they are judged once more.
 */
import { isConfined } from '../../proto/domain/assignment.ts';
import type { NetworkUnit } from '../../proto/domain/assignment.ts';
import { confinementChain, elsewhereChain, refusalChain, strangersChain } from './base-rules.ts';
import type { Membership } from './membership.ts';
import { ruleName, verdicts } from './rule-changes.ts';
import type { Rules } from './rule-changes.ts';

export function isolationRules(membership: Membership, network: Pick<NetworkUnit, 'internal'>): Rules {
  const chains = new Map<string, readonly string[]>();
  const senders = new Map<string, string>();
  const receivers = new Map<string, string>();
  const confined = new Set<string>();
  for (const [address, networks] of membership.residents) {
    const isSealed = isConfined(networks, network);
    // Containers on the same networks share their chains.
    const group = networks.length === 1 ? (networks[0] ?? '') : JSON.stringify(networks);
    const from = ruleName('from', group);
    const to = ruleName('to', group);
    if (!chains.has(from)) {
      const sets = networks.map((network) => `@${setOf(network)}`);
      // Of a container without a known network nothing is let through: it may be one that must not get out.
      const isKnown = networks.length > 0;
      const beyond = !isKnown ? refusalChain : isSealed ? confinementChain : elsewhereChain;
      chains.set(from, [...sets.map((set) => `ip daddr ${set} accept`), `goto ${beyond}`]);
      const others = isKnown ? strangersChain : refusalChain;
      chains.set(to, [...sets.map((set) => `ip saddr ${set} accept`), `goto ${others}`]);
    }
    senders.set(address, from);
    receivers.set(address, to);
    if (isSealed) confined.add(address);
  }
  return {
    chains,
    sets: new Map([...membership.networks].map(([network, addresses]) => [setOf(network), addresses])),
    elements: new Map([
      ['senders', verdicts(senders)],
      ['receivers', verdicts(receivers)],
      ['confined', confined],
      ['members', membership.known],
    ]),
  };
}

const setOf = (network: string): string => ruleName('net', network);
