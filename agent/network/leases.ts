/** Which task has which address of this node's subnet: one durable file, written before the kernel is touched. */
import pLimit from 'p-limit';
import { FrotaError } from '../../proto/base/errors.ts';
import { nextAddress } from './addresses.ts';
import type { Subnet } from './addresses.ts';
import type { TaskPlace } from './network.ts';
import { readJson, writeJsonDurably } from './durable-json.ts';

export interface Lease {
  readonly address: string;
  /**
   * `making`: the kernel may have any part of it, no container was ever started in it. `spare`: it is all there, under a name of its
   * own, for the next task that comes. `made`: a task's.
   */
  readonly state: 'making' | 'spare' | 'made';
  /** It was a spare one under this name, as its namespace still is. Absent: made for its task. */
  readonly madeAs?: string;
  /** Absent in records of agents that did not know networks apart. */
  readonly place?: TaskPlace;
}

export interface Holder {
  readonly taskId: string;
  readonly lease: Lease;
}

interface LeaseRecord {
  readonly version: 1;
  /** The address given last; the search for the next one begins after it. */
  readonly cursor?: string;
  readonly tasks: Readonly<Record<string, Lease>>;
}

export class Leases {
  readonly #path: string;
  readonly #subnet: Subnet;
  readonly #serial = pLimit(1);
  #record: LeaseRecord;
  #holders: ReadonlyMap<string, Holder>;

  private constructor(path: string, subnet: Subnet, record: LeaseRecord) {
    this.#path = path;
    this.#subnet = subnet;
    this.#record = record;
    this.#holders = holdersOf(record);
  }

  static async load(path: string, subnet: Subnet): Promise<Leases> {
    const stored = await readJson(path);
    if (stored === undefined) return new Leases(path, subnet, { version: 1, tasks: {} });
    if (!isLeaseRecord(stored)) {
      throw new FrotaError('corrupt', `${path} holds no leases of version 1; remove it when no container runs here`);
    }
    return new Leases(path, subnet, stored);
  }

  all(): ReadonlyMap<string, Lease> {
    return new Map(Object.entries(this.#record.tasks));
  }

  get(taskId: string): Lease | undefined {
    return this.all().get(taskId);
  }

  holder(address: string): Holder | undefined {
    return this.#holders.get(address);
  }

  /** A spare one becomes the task's, in one write. Undefined: there is none, or the task has a lease. */
  take(taskId: string, place: TaskPlace): Promise<Lease | undefined> {
    return this.#serial(async () => {
      const spare = Object.entries(this.#record.tasks).find(([, { state }]) => state === 'spare');
      if (spare === undefined || this.get(taskId) !== undefined) return undefined;
      const [madeAs, { address }] = spare;
      const lease: Lease = { address, state: 'made', place, madeAs };
      const others = Object.entries(this.#record.tasks).filter(([id]) => id !== madeAs);
      await this.#write({ ...this.#record, tasks: { ...Object.fromEntries(others), [taskId]: lease } });
      return lease;
    });
  }

  /** The task's lease, or a new one in state `making`; a spare one has no place. @throws FrotaError `exhausted`. */
  reserve(taskId: string, place?: TaskPlace): Promise<Lease> {
    return this.#serial(async () => {
      const known = this.get(taskId);
      if (known !== undefined) {
        if (known.place !== undefined || place === undefined) return known;
        const placed: Lease = { ...known, place };
        await this.#write({ ...this.#record, tasks: { ...this.#record.tasks, [taskId]: placed } });
        return placed;
      }
      const taken = new Set(Object.values(this.#record.tasks).map((lease) => lease.address));
      const address = nextAddress(this.#subnet, taken, this.#record.cursor);
      const lease: Lease = { address, state: 'making', ...(place === undefined ? {} : { place }) };
      await this.#write({ ...this.#record, cursor: lease.address, tasks: { ...this.#record.tasks, [taskId]: lease } });
      return lease;
    });
  }

  confirm(taskId: string, state: 'spare' | 'made'): Promise<void> {
    return this.#serial(async () => {
      const known = this.get(taskId);
      if (known === undefined || known.state === state) return;
      await this.#write({ ...this.#record, tasks: { ...this.#record.tasks, [taskId]: { ...known, state } } });
    });
  }

  free(taskId: string): Promise<void> {
    return this.#serial(async () => {
      if (this.get(taskId) === undefined) return;
      const rest = Object.entries(this.#record.tasks).filter(([id]) => id !== taskId);
      await this.#write({ ...this.#record, tasks: Object.fromEntries(rest) });
    });
  }

  /** Memory follows the disk, never the other way round: a write that fails changes nothing. */
  async #write(next: LeaseRecord): Promise<void> {
    await writeJsonDurably(this.#path, next);
    this.#record = next;
    this.#holders = holdersOf(next);
  }
}

const holdersOf = ({ tasks }: LeaseRecord): ReadonlyMap<string, Holder> =>
  new Map(Object.entries(tasks).map(([taskId, lease]) => [lease.address, { taskId, lease }]));

function isLeaseRecord(value: unknown): value is LeaseRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { version, tasks } = value as Partial<LeaseRecord>;
  return version === 1 && typeof tasks === 'object';
}
