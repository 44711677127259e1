/** The network adapter for Linux: iproute2 and nftables in the network namespace the agent runs in. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pLimit from 'p-limit';
import { FrotaError, describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { NetworkUnit } from '../../proto/domain/assignment.ts';
import { run } from '../host/programs.ts';
import { parseAddress, parseSubnet } from './addresses.ts';
import { ContainerLinks } from './container-links.ts';
import { Leases } from './leases.ts';
import type { Attachment, DesiredNetwork, NodeNetwork, TaskPlace } from './network.ts';
import { observedOverlay, parseForwarding } from './overlay-reading.ts';
import { overlayChanges, overlayDevice, vxlanOverheadBytes, wantedOverlay } from './overlay.ts';
import { ServiceTable } from './service-table.ts';
import { UplinkGuard, readNetwork } from './uplink-guard.ts';
import { findUplink } from './uplink.ts';

/** Programs without which no network can be made; `conntrack` is used where it is there. */
export const networkPrograms = ['ip', 'bridge', 'nft', 'nsenter', 'conntrack'] as const;

/** Number of the overlay on the wire; every node of a cluster uses the same. */
export const defaultVni = 42;
/** IANA's port for VXLAN (RFC 7348). */
export const defaultVxlanPort = 4789;
/** Reading one small file this often costs nothing, and a link that came back serves again within the second. */
const uplinkPollMs = 500;

export interface NodeNetworkOptions {
  /** The IPv4 address by which the other nodes reach this one. */
  readonly nodeAddress: string;
  /** This node's part of the container pool, CIDR. */
  readonly nodeSubnet: string;
  /** Folder for what must survive the agent; made when missing. */
  readonly stateDir: string;
  /** Unique among the agents of this machine: names of namespaces begin with `frota-PREFIX.`. */
  readonly namePrefix: string;
  readonly logger: Logger;
  readonly vni?: number;
  readonly vxlanPort?: number;
  /** Networks of containers that `watch` keeps ready ahead of need; default 0. */
  readonly spareLinks?: number;
}

/**
 * Takes over what an earlier agent left, sweeping only what it had not finished; traffic goes on meanwhile.
 *
 * @throws FrotaError `invalid` for a wrong address, subnet or prefix; `unsupported` when a program is missing;
 * `corrupt` when a record cannot be read.
 */
export async function createNodeNetwork(options: NodeNetworkOptions): Promise<NodeNetwork> {
  const subnet = parseSubnet(options.nodeSubnet);
  const nodeAddress = parseAddress(options.nodeAddress);
  const leases = await Leases.load(join(options.stateDir, 'leases.json'), subnet);
  const uplink = new UplinkGuard(join(options.stateDir, 'uplink.json'), nodeAddress, options.logger);
  const links = new ContainerLinks({
    leases,
    namePrefix: options.namePrefix,
    mtu: () => uplink.mtu - vxlanOverheadBytes,
    logger: options.logger,
    spares: options.spareLinks ?? 0,
  });
  await uplink.check();
  await links.sweep();
  return new LinuxNodeNetwork({ ...options, nodeAddress }, links, uplink);
}

class LinuxNodeNetwork implements NodeNetwork {
  readonly #options: NodeNetworkOptions;
  readonly #links: ContainerLinks;
  readonly #uplink: UplinkGuard;
  readonly #services: ServiceTable;
  readonly #logger: Logger;
  readonly #serial = pLimit(1);
  /** The last that was asked for; `repair` makes it true again. */
  #desired: DesiredNetwork | undefined;
  /** Nodes that do not answer this one. */
  #silentNodes: ReadonlySet<string> = new Set();
  /** The network unit the overlay was last made for, as JSON; undefined means: read the kernel again. */
  #overlayOf: string | undefined;
  #closed = false;

  constructor(options: NodeNetworkOptions, links: ContainerLinks, uplink: UplinkGuard) {
    this.#options = options;
    this.#links = links;
    this.#uplink = uplink;
    this.#logger = options.logger;
    this.#services = new ServiceTable(options.nodeSubnet, () => links.list(), options.logger);
  }

  async list(): Promise<readonly Attachment[]> {
    return this.#links.list();
  }

  resident(address: string): Attachment | undefined {
    return this.#links.resident(address);
  }

  async attach(taskId: string, place: TaskPlace): Promise<Attachment> {
    this.#assertOpen();
    const attachment = await this.#links.attach(taskId, place);
    try {
      // Of several that wait here the first brings in all, and the others find nothing to do.
      await this.#serial(async () => {
        if (this.#desired !== undefined)
          await this.#services.admit(this.#desired.network, this.#desired.services, this.#silentNodes);
      });
    } catch (error) {
      await this.#links.detach(taskId);
      throw error;
    }
    return attachment;
  }

  async detach(taskId: string): Promise<void> {
    return this.#links.detach(taskId);
  }

  async apply(desired: DesiredNetwork): Promise<void> {
    this.#assertOpen();
    return this.#serial(async () => {
      this.#desired = desired;
      await this.#enforce(desired);
    });
  }

  async reroute(silentNodes: ReadonlySet<string>): Promise<void> {
    this.#assertOpen();
    this.#silentNodes = silentNodes;
    return this.#serial(async () => {
      if (this.#desired !== undefined) await this.#enforce(this.#desired);
    });
  }

  async repair(): Promise<void> {
    this.#assertOpen();
    return this.#serial(async () => {
      await this.#uplink.check();
      this.#overlayOf = undefined;
      this.#services.distrust();
      if (this.#desired !== undefined) await this.#enforce(this.#desired);
    });
  }

  async watch(signal: AbortSignal, onLinkBack?: () => void): Promise<void> {
    await Promise.all([this.#watchUplink(signal, onLinkBack), this.#links.keepSpares(signal)]);
  }

  async #watchUplink(signal: AbortSignal, onLinkBack?: () => void): Promise<void> {
    let seen = '';
    let settled = false;
    while (!signal.aborted && !this.#closed) {
      try {
        const now = await this.#uplink.fingerprint();
        if (now !== seen || !settled) {
          const result = await this.#serial(() => this.#uplink.check());
          if (result.cameBack) {
            await this.repair();
            onLinkBack?.();
          }
          seen = now;
          // What was just restored is not in `now` yet: look once more, or the same loss again would go unseen.
          settled = result.settled && !result.cameBack;
        }
      } catch (error) {
        settled = false;
        this.#logger.warn({ error: describeError(error) }, 'the uplink could not be checked; trying again');
      }
      await delay(uplinkPollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async close({ removeAll }: { readonly removeAll: boolean }): Promise<void> {
    this.#closed = true;
    await this.#serial(async () => {
      await this.#services.close();
      if (!removeAll) return;
      await this.#links.removeAll();
      await this.#services.removeAll();
      const reading = await readNetwork();
      if (reading.links.some((link) => link.ifname === overlayDevice)) {
        await run('ip', ['link', 'delete', 'dev', overlayDevice]);
      }
      await this.#uplink.forget();
      await rm(this.#options.stateDir, { recursive: true, force: true });
    });
  }

  async #enforce({ network, services }: DesiredNetwork): Promise<void> {
    const key = JSON.stringify(network);
    if (this.#overlayOf !== key) {
      this.#overlayOf = undefined;
      await this.#makeOverlay(network);
      this.#overlayOf = key;
    }
    await this.#services.apply(network, services, this.#silentNodes);
  }

  async #makeOverlay(network: NetworkUnit): Promise<void> {
    const { nodeAddress, nodeSubnet, vni = defaultVni, vxlanPort = defaultVxlanPort } = this.#options;
    const reading = await readNetwork();
    const forwarding = await this.#readForwarding(reading.links.some((link) => link.ifname === overlayDevice));
    const uplink = findUplink(reading, nodeAddress);
    const ownsAddress = uplink?.addr_info?.some((address) => address.local === nodeAddress) === true;
    const wanted = wantedOverlay(network, {
      nodeSubnet,
      vni,
      port: vxlanPort,
      mtu: this.#uplink.mtu - vxlanOverheadBytes,
      local: ownsAddress ? nodeAddress : undefined,
    });
    const changes = overlayChanges(wanted, observedOverlay(reading, forwarding));
    await runBatch('ip', changes.ip);
    await runBatch('bridge', changes.bridge);
    await writeFile('/proc/sys/net/ipv4/ip_forward', '1');
    await writeFile(`/proc/sys/net/ipv4/conf/${overlayDevice}/route_localnet`, '1');
    if (changes.ip.length + changes.bridge.length > 0) this.#logger.debug({ ...changes }, 'changed the overlay');
  }

  async #readForwarding(exists: boolean): Promise<ReturnType<typeof parseForwarding>> {
    if (!exists) return [];
    const { stdout } = await run('bridge', ['-json', 'fdb', 'show', 'dev', overlayDevice]);
    return parseForwarding(stdout);
  }

  #assertOpen(): void {
    if (this.#closed) throw new FrotaError('cancelled', "the node's network is closed");
  }
}

async function runBatch(program: 'ip' | 'bridge', lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  await run(program, ['-batch', '-'], { input: `${lines.join('\n')}\n` });
}
