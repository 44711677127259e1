/** Adapter: keeps nftables at what services and networks say, and connections to vanished endpoints from hanging. */
import { describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { NetworkUnit, ServiceUnit } from '../../proto/domain/assignment.ts';
import { run } from '../host/programs.ts';
import { contains, overlayAddress, parseSubnet } from './addresses.ts';
import type { Subnet } from './addresses.ts';
import { baseTable, ruleTable } from './base-rules.ts';
import { answers, forgetConnections, translatedTargets } from './connections.ts';
import { isolationRules } from './isolation-rules.ts';
import { membershipOf } from './membership.ts';
import type { Attachment } from './network.ts';
import { withoutSilent } from './reroute.ts';
import { noRules, ruleChanges } from './rule-changes.ts';
import type { Rules } from './rule-changes.ts';
import { serviceRules } from './service-rules.ts';

interface AppliedRules {
  readonly base: string;
  readonly services: Rules;
  readonly isolation: Rules;
}

const changesBetween = (before: Omit<AppliedRules, 'base'>, after: AppliedRules): string =>
  ruleChanges(before.services, after.services) + ruleChanges(before.isolation, after.isolation);

export class ServiceTable {
  readonly #nodeSubnet: string;
  readonly #subnet: Subnet;
  /** The containers of this node. */
  readonly #attachments: () => readonly Attachment[];
  readonly #logger: Logger;
  /** What this object has put into the kernel; undefined means: replace all. */
  #applied: AppliedRules | undefined;
  /** Endpoint address → overlay address of its node. Undefined before the first apply. */
  #endpoints: ReadonlyMap<string, string> | undefined;
  readonly #checks = new Set<Promise<void>>();
  readonly #closing = new AbortController();

  constructor(nodeSubnet: string, attachments: () => readonly Attachment[], logger: Logger) {
    this.#nodeSubnet = nodeSubnet;
    this.#subnet = parseSubnet(nodeSubnet);
    this.#attachments = attachments;
    this.#logger = logger;
  }

  /** The next apply replaces the table, whatever this object believes the kernel has. */
  distrust(): void {
    this.#applied = undefined;
  }

  /** `silentNodes`: their endpoints get no new connections, and those that are open are settled as if they had vanished. */
  async apply(network: NetworkUnit, services: readonly ServiceUnit[], silentNodes: ReadonlySet<string>): Promise<void> {
    const { containerPool, vipPool } = network;
    const base = baseTable({ containerPool, vipPool, nodeSubnet: this.#nodeSubnet });
    const served = withoutSilent(services, silentNodes);
    const rules = serviceRules(served, this.#subnet, network);
    if (rules.conflicts.length > 0) {
      this.#logger.warn({ conflicts: rules.conflicts }, 'claimed by two services; the first has it');
    }
    await this.#load({ base, services: rules, isolation: this.#isolation(network, services) });
    await this.#settleConnections(network, served);
  }

  /** Brings in what has been attached since; the arguments are those of the last `apply`. */
  async admit(network: NetworkUnit, services: readonly ServiceUnit[], silentNodes: ReadonlySet<string>): Promise<void> {
    const applied = this.#applied;
    if (applied === undefined) await this.apply(network, services, silentNodes);
    else await this.#load({ ...applied, isolation: this.#isolation(network, services) });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#checks);
  }

  async removeAll(): Promise<void> {
    this.#applied = undefined;
    await run('nft', ['-f', '-'], { input: `add table ${ruleTable}\ndelete table ${ruleTable}\n` });
  }

  #isolation(network: NetworkUnit, services: readonly ServiceUnit[]): Rules {
    return isolationRules(membershipOf(services, this.#attachments(), this.#subnet), network);
  }

  async #load(wanted: AppliedRules): Promise<void> {
    const before = this.#applied;
    if (before?.base === wanted.base) {
      const changes = changesBetween(before, wanted);
      if (changes === '') return;
      try {
        await run('nft', ['-f', '-'], { input: changes });
        this.#applied = wanted;
        return;
      } catch (error) {
        this.#logger.warn({ error: describeError(error) }, 'the rules were changed by someone else; replacing them');
      }
    }
    this.#applied = undefined;
    const whole = changesBetween({ services: noRules, isolation: noRules }, wanted);
    await run('nft', ['-f', '-'], { input: wanted.base + whole });
    this.#applied = wanted;
  }

  /**
   * UDP has no end of its own: its translations go at once. A TCP connection to an endpoint that is only being
   * stopped ends by itself, and its requests may finish; when the endpoint's whole node is silent nobody will
   * ever end it, so it is forgotten, whereupon its client's next packet is answered with a reset.
   */
  async #settleConnections(network: NetworkUnit, services: readonly ServiceUnit[]): Promise<void> {
    const before = this.#endpoints;
    const now = endpointNodes(network, services);
    this.#endpoints = now;
    const known = before === undefined ? await this.#inherited(network) : [...before];
    const gone = known.filter(([address]) => !now.has(address));
    if (gone.length === 0) return;
    const addresses = gone.map(([address]) => address);
    await forgetConnections(addresses, 'udp', this.#logger);
    const remote = gone.filter(([address]) => !contains(this.#subnet, address));
    for (const node of new Set(remote.map(([, nodeAddress]) => nodeAddress))) {
      const its = remote.filter(([, nodeAddress]) => nodeAddress === node).map(([address]) => address);
      this.#start(this.#forgetIfSilent(node, its));
    }
  }

  /** What an earlier agent's rules still translate to. */
  async #inherited(network: NetworkUnit): Promise<readonly (readonly [string, string])[]> {
    const targets = await translatedTargets(parseSubnet(network.containerPool), this.#logger);
    const subnets = network.peers.map((peer) => parseSubnet(peer.subnet));
    return [...targets].map((address) => {
      const subnet = subnets.find((each) => contains(each, address));
      return [address, subnet === undefined ? '' : overlayAddress(subnet)] as const;
    });
  }

  async #forgetIfSilent(node: string, addresses: readonly string[]): Promise<void> {
    const signal = this.#closing.signal;
    // Asked twice at once, so that one lost packet cuts nobody's connection.
    const heard = node === '' ? [false] : await Promise.all([answers(node, signal), answers(node, signal)]);
    if (signal.aborted || heard.includes(true)) return;
    this.#logger.info({ node, addresses }, 'the node of vanished endpoints is silent: resetting their connections');
    await forgetConnections(addresses, 'all', this.#logger);
  }

  #start(check: Promise<void>): void {
    const guarded = check
      .catch((error: unknown) => {
        if (this.#closing.signal.aborted) return;
        this.#logger.warn({ error: describeError(error) }, 'connections of vanished endpoints could not be settled');
      })
      .finally(() => this.#checks.delete(guarded));
    this.#checks.add(guarded);
  }
}

function endpointNodes(network: NetworkUnit, services: readonly ServiceUnit[]): ReadonlyMap<string, string> {
  const nodes = new Map(network.peers.map((peer) => [peer.nodeId, overlayAddress(parseSubnet(peer.subnet))]));
  return new Map(
    services.flatMap((service) =>
      service.endpoints.map((endpoint) => [endpoint.address, nodes.get(endpoint.nodeId) ?? ''] as const),
    ),
  );
}
