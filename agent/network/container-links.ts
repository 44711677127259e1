/** Adapter: places of containers in the network, made and unmade in the kernel behind durable leases. */
import { readdir, statfs, writeFile } from 'node:fs/promises';
import { FrotaError, describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
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

export interface ContainerLinksOptions {
  readonly leases: Leases;
  readonly namePrefix: string;
  /** MTU of the overlay, read at each attach. */
  readonly mtu: () => number;
  readonly logger: Logger;
}

export class ContainerLinks {
  readonly #leases: Leases;
  readonly #stem: string;
  readonly #mtu: () => number;
  readonly #logger: Logger;
  readonly #locks = new TaskLocks();

  constructor(options: ContainerLinksOptions) {
    this.#leases = options.leases;
    this.#stem = namespaceStem(options.namePrefix);
    this.#mtu = options.mtu;
    this.#logger = options.logger;
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
    const namespace = namespaceName(this.#stem, taskId);
    return this.#locks.run(taskId, async () => {
      const lease = await this.#leases.reserve(taskId, place);
      const link: ContainerLink = { namespace, address: lease.address, mtu: this.#mtu() };
      const existing = await partsOf(link);
      if (lease.state === 'made') {
        // A container may run in there: what is missing is added, nothing is taken away.
        if (!existing.namespace || !existing.veth) await this.#make(taskId, link, existing);
        return this.#attachment(taskId, lease);
      }
      try {
        await removeParts(link, existing);
        await this.#make(taskId, link, { namespace: false, veth: false }, true);
        await this.#leases.confirm(taskId);
      } catch (error) {
        await this.#giveUp(taskId, link);
        throw error;
      }
      return this.#attachment(taskId, lease);
    });
  }

  detach(taskId: string): Promise<void> {
    const namespace = namespaceName(this.#stem, taskId);
    return this.#locks.run(taskId, async () => {
      const lease = this.#leases.get(taskId);
      if (lease === undefined) return;
      const link = { namespace, address: lease.address };
      await removeParts(link, await partsOf(link));
      await this.#leases.free(taskId);
    });
  }

  /** Removes what an agent that was killed left half made, and what no lease explains. Before the first attach. */
  async sweep(): Promise<void> {
    for (const [taskId, lease] of this.#leases.all()) {
      if (lease.state === 'making') await this.detach(taskId);
    }
    const leases = this.#leases.all();
    const namespaces = new Set([...leases.keys()].map((taskId) => namespaceName(this.#stem, taskId)));
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

  #attachment(taskId: string, { address, place }: Lease): Attachment {
    const namespace = namespacePath(namespaceName(this.#stem, taskId));
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
