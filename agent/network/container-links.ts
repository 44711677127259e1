/** Adapter: places of containers in the network, made and unmade in the kernel behind durable leases. */
import { randomBytes } from 'node:crypto';
import { readdir, statfs, writeFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { FrotaError, describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { pause } from '../../proto/base/pause.ts';
import { run } from '../host/programs.ts';
import { addressOfVeth, vethName } from './addresses.ts';
import {
  attachScript,
  detachLines,
  namespaceFolder,
  namespaceName,
  namespacePath,
  namespaceStem,
} from './container-link.ts';
import type { ContainerLink, LinkParts } from './container-link.ts';
import type { Lease, Leases } from './leases.ts';
import type { Attachment, TaskPlace } from './network.ts';
import { TaskLocks } from './task-locks.ts';

/** By these the agent's own namespace is seen, wherever /sys was mounted. */
const deviceSettings = '/proc/sys/net/ipv4/conf';
/** `NSFS_MAGIC` of linux/magic.h: a name in /run/netns that is no mount is left of an unfinished `ip netns add`. */
const nsfsMagic = 0x6e736673;

/** How often it is looked whether spare ones are missing: one small map, no call of the kernel. */
const spareCheckMs = 500;
/** Spare ones are made when nothing has begun or ended for this long: who starts needs the processors more. */
const quietMs = 1_000;

export interface ContainerLinksOptions {
  readonly leases: Leases;
  readonly namePrefix: string;
  /** MTU of the overlay, read at each attach. */
  readonly mtu: () => number;
  readonly logger: Logger;
  /** So many are made ahead of need by `keepSpares`. */
  readonly spares: number;
}

export class ContainerLinks {
  readonly #leases: Leases;
  readonly #stem: string;
  readonly #mtu: () => number;
  readonly #logger: Logger;
  readonly #spares: number;
  readonly #locks = new TaskLocks();
  /** When a task's place was last asked for or given up, and what spare ones were made for. */
  #busyAtMs = performance.now();
  #spareMtu: number | undefined;

  constructor(options: ContainerLinksOptions) {
    this.#leases = options.leases;
    this.#stem = namespaceStem(options.namePrefix);
    this.#mtu = options.mtu;
    this.#logger = options.logger;
    this.#spares = options.spares;
  }

  list(): readonly Attachment[] {
    return [...this.#leases.all()]
      .filter(([, lease]) => lease.state === 'made')
      .map(([taskId, lease]) => this.#attachment(taskId, lease));
  }

  resident(address: string): Attachment | undefined {
    const holder = this.#leases.holder(address);
    return holder?.lease.state === 'made' ? this.#attachment(holder.taskId, holder.lease) : undefined;
  }

  attach(taskId: string, place: TaskPlace): Promise<Attachment> {
    this.#busyAtMs = performance.now();
    return this.#locks.run(taskId, async () => {
      const spare = this.#mtu() === this.#spareMtu ? await this.#leases.take(taskId, place) : undefined;
      const lease = spare ?? (await this.#leases.reserve(taskId, place));
      const link = this.#linkOf(taskId, lease);
      const existing = await partsOf(link);
      if (lease.state === 'made') {
        // A container may run in there: what is missing is added, nothing is taken away.
        if (!existing.namespace || !existing.veth) await this.#make(taskId, link, existing);
        return this.#attachment(taskId, lease);
      }
      await this.#makeWhole(taskId, link, existing, 'made');
      return this.#attachment(taskId, lease);
    });
  }

  /** Until `signal` aborts: makes spare ones, so that a task's start need not wait for the kernel to make its network. */
  async keepSpares(signal: AbortSignal): Promise<void> {
    if (this.#spares === 0) return;
    for (;;) {
      await pause(spareCheckMs, signal);
      if (signal.aborted) return;
      if (performance.now() - this.#busyAtMs < quietMs) continue;
      await this.#nextSpare().catch((error: unknown) => {
        // Tasks are attached without one.
        this.#busyAtMs = performance.now();
        this.#logger.debug({ error: describeError(error) }, 'no network could be made ahead of need');
      });
    }
  }

  /** One more, if one is missing. Those for another MTU than the present one go first. */
  async #nextSpare(): Promise<void> {
    const mtu = this.#mtu();
    if (mtu !== this.#spareMtu) await this.#removeSpares();
    this.#spareMtu = mtu;
    if (this.#spareNames().length >= this.#spares) return;
    const name = `spare-${randomBytes(6).toString('hex')}`;
    await this.#locks.run(name, async () => {
      const link = this.#linkOf(name, await this.#leases.reserve(name));
      await this.#makeWhole(name, link, await partsOf(link), 'spare');
    });
  }

  #spareNames(): readonly string[] {
    return [...this.#leases.all()].flatMap(([name, { state }]) => (state === 'spare' ? [name] : []));
  }

  async #removeSpares(): Promise<void> {
    for (const name of this.#spareNames()) await this.detach(name);
  }

  #linkOf(taskId: string, { address, madeAs }: Lease): ContainerLink {
    return { namespace: namespaceName(this.#stem, madeAs ?? taskId), address, mtu: this.#mtu() };
  }

  async #makeWhole(name: string, link: ContainerLink, existing: LinkParts, state: 'spare' | 'made'): Promise<void> {
    try {
      await removeParts(link, existing);
      await this.#make(name, link, { namespace: false, veth: false }, true);
      await this.#leases.confirm(name, state);
    } catch (error) {
      await this.#giveUp(name, link);
      throw error;
    }
  }

  detach(taskId: string): Promise<void> {
    this.#busyAtMs = performance.now();
    return this.#locks.run(taskId, async () => {
      const lease = this.#leases.get(taskId);
      if (lease === undefined) return;
      const link = this.#linkOf(taskId, lease);
      await removeParts(link, await partsOf(link));
      await this.#leases.free(taskId);
    });
  }

  /** Removes what an agent that was killed left half made or spare, and what no lease explains. Before the first attach. */
  async sweep(): Promise<void> {
    for (const [taskId, lease] of this.#leases.all()) {
      if (lease.state === 'made') continue;
      await this.detach(taskId).catch((error: unknown) => {
        // On a full disk, say. The lease stays as it is, and whoever needs its place begins with removing what is there.
        this.#logger.warn({ taskId, error: describeError(error) }, 'what an earlier agent left is not given up yet');
      });
    }
    const leases = this.#leases.all();
    const namespaces = new Set([...leases].map(([taskId, lease]) => this.#linkOf(taskId, lease).namespace));
    const addresses = new Set([...leases.values()].map((lease) => lease.address));
    const strayVeths = (await readdir(deviceSettings)).filter((device) => {
      const address = addressOfVeth(device);
      return address !== undefined && !addresses.has(address);
    });
    const strayNamespaces = (await namesIn(namespaceFolder)).filter(
      (name) => name.startsWith(this.#stem) && !namespaces.has(name),
    );
    const lines = [
      ...strayVeths.map((device) => `link delete dev ${device}`),
      ...strayNamespaces.map((name) => `netns delete ${name}`),
    ];
    if (lines.length === 0) return;
    this.#logger.info({ strayVeths, strayNamespaces }, 'removing network parts that belong to no task');
    await run('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  async removeAll(): Promise<void> {
    for (const taskId of this.#leases.all().keys()) await this.detach(taskId);
    await this.sweep();
  }

  async #make(taskId: string, link: ContainerLink, existing: LinkParts, isNew = false): Promise<void> {
    const { address } = link;
    try {
      const { stdout } = await run('sh', ['-e'], { input: attachScript(link, existing, isNew) });
      const left = stdout.trim();
      if (left !== '')
        this.#logger.warn({ address, error: left }, 'earlier connections of an address could not be forgotten');
      // Connections from 127.0.0.1 to a published port go out here; the rules keep strangers from using it.
      await writeFile(`${deviceSettings}/${vethName(address)}/route_localnet`, '1');
    } catch (error) {
      throw new FrotaError('unavailable', `the network of task ${taskId} (${address}) could not be made`, {
        cause: error,
      });
    }
  }

  async #giveUp(taskId: string, link: ContainerLink): Promise<void> {
    try {
      await removeParts(link, await partsOf(link));
      await this.#leases.free(taskId);
    } catch (error) {
      // The lease stays in state `making`: the next attach, detach or sweep begins with removing it.
      this.#logger.warn({ taskId, error: describeError(error) }, 'a half-made network could not be removed yet');
    }
  }

  #attachment(taskId: string, lease: Lease): Attachment {
    const { address, place } = lease;
    const namespace = namespacePath(this.#linkOf(taskId, lease).namespace);
    return { taskId, address, namespace, ...(place === undefined ? {} : { place }) };
  }
}

type Place = Pick<ContainerLink, 'namespace' | 'address'>;

async function partsOf(link: Place): Promise<LinkParts> {
  const [namespace, veth] = await Promise.all([
    isNamespace(namespacePath(link.namespace)),
    exists(`${deviceSettings}/${vethName(link.address)}`),
  ]);
  return { namespace, veth };
}

/** Removes what is there, an unmounted name included, and bears with parts that vanish meanwhile. */
async function removeParts(link: Place, existing: LinkParts): Promise<void> {
  const named = await exists(namespacePath(link.namespace));
  const lines = detachLines(link, { veth: existing.veth, namespace: named });
  if (lines.length === 0) return;
  try {
    await run('ip', ['-force', '-batch', '-'], { input: `${lines.join('\n')}\n` });
  } catch (error) {
    const left = await partsOf(link);
    if (left.veth || left.namespace) {
      throw new FrotaError('unavailable', `the network at ${link.address} could not be removed`, { cause: error });
    }
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await statfs(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw FrotaError.from(error, 'unavailable');
  }
}

async function isNamespace(path: string): Promise<boolean> {
  try {
    return (await statfs(path)).type === nsfsMagic;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw FrotaError.from(error, 'unavailable');
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw FrotaError.from(error, 'unavailable');
  }
}
