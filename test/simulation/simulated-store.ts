/**
 * The store that all controllers of a run share: the real memory adapter, and before it what a store does on a bad day.
 * Every committed transaction is told to the properties at the instant it is committed.
 */
import { FrotaError } from '../../proto/base/errors.ts';
import { silentLogger } from '../../proto/base/log.ts';
import { decodeNode, decodeTask, encodeNode } from '../../proto/codec/records.ts';
import type { Snapshot } from '../../controller/plan/snapshot.ts';
import { clusterKey, nodeKey } from '../../controller/store/keys.ts';
import { createMemoryStore } from '../../controller/store/memory/memory-store.ts';
import { createPicture } from '../../controller/store/picture.ts';
import type { Store, Transaction, TransactionResult, WatchBatch } from '../../controller/store/store.ts';
import type { Life } from './life.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';

export interface StoreWeather {
  /** Of a call: it fails before anything is written; it fails after all was written; a controller dies within it. */
  readonly failsBefore: number;
  readonly failsAfter: number;
  readonly killsWithin: number;
  /** Of a transaction: somebody else writes a record it compares, just before it. */
  readonly conflicts: number;
  /** Of a read: the watch says that what it would tell is forgotten. */
  readonly forgets: number;
  /** Longest answer, ms. */
  readonly slowMs: number;
}

export const fairStore: StoreWeather = {
  failsBefore: 0, failsAfter: 0, killsWithin: 0, conflicts: 0, forgets: 0, slowMs: 3,
}; // prettier-ignore

export interface Commit {
  readonly before: Snapshot;
  readonly after: Snapshot;
  readonly batch: WatchBatch;
  /** As it was in the last moments, `before` and `after` included. */
  readonly recent: readonly Snapshot[];
}

/** A plan is committed at the latest so long after it saw the snapshot it is made from; slow stores and broken watches included. */
const recentMs = 10_000;
const maxRecent = 400;

/** What one transaction needs, ms, and what a watch lags behind. */
const transactionMs = { min: 0.2, max: 1.5 };
const watchLagMs = { min: 0.1, max: 4 };

export class SimulatedStore {
  readonly #inner = createMemoryStore();
  readonly #picture = createPicture(silentLogger);
  readonly #random: Random;
  readonly #tally: Tally;
  readonly #committed: (commit: Commit) => void;
  readonly #kill: (life: Life) => void;
  readonly #nowMs: () => number;
  #recent: { readonly untilMs: number; readonly snapshot: Snapshot }[] = [];
  weather: StoreWeather = fairStore;

  constructor(parts: {
    random: Random;
    tally: Tally;
    nowMs: () => number;
    committed: (commit: Commit) => void;
    /** A controller is to die now. */
    kill: (life: Life) => void;
  }) {
    this.#random = parts.random;
    this.#tally = parts.tally;
    this.#committed = parts.committed;
    this.#kill = parts.kill;
    this.#nowMs = parts.nowMs;
  }

  /** What is written, as of this instant. */
  snapshot(): Snapshot {
    return this.#picture.snapshot();
  }

  /** Without weather and delay: for what was there before the run began. */
  async seed(transactions: readonly Transaction[]): Promise<void> {
    for (const transaction of transactions) await this.#commitOne(transaction);
  }

  /** The store as one controller has it. */
  handle(life: Life): Store {
    return {
      range: async (prefix) => {
        await life.sleep(this.#answersMs());
        this.#mayFail('failsBefore');
        return await alive(life, this.#inner.range(prefix));
      },
      commit: (transactions) => this.#commit(life, transactions),
      watch: (prefix, fromRevision, signal) => this.#watch(life, prefix, fromRevision, signal),
      compact: (revision) => this.#inner.compact(revision),
      close: () => Promise.resolve(),
    };
  }

  async #commit(life: Life, transactions: readonly Transaction[]): Promise<readonly TransactionResult[]> {
    await life.sleep(this.#answersMs());
    this.#mayFail('failsBefore');
    const killAfter = this.#random.chance(this.weather.killsWithin)
      ? this.#random.int(0, transactions.length)
      : undefined;
    const results: TransactionResult[] = [];
    for (const transaction of transactions) {
      if (results.length === killAfter) break;
      await life.sleep(this.#random.between(transactionMs.min, transactionMs.max));
      if (this.#random.chance(this.weather.conflicts)) await this.#interfere(transaction);
      results.push(await this.#commitOne(transaction));
    }
    if (killAfter !== undefined) {
      this.#tally.add('controllers killed between two writes');
      this.#kill(life);
    }
    await life.sleep(0.1);
    this.#mayFail('failsAfter');
    return results;
  }

  async #commitOne(transaction: Transaction): Promise<TransactionResult> {
    const [result] = await this.#inner.commit([transaction]);
    if (result === undefined) throw new Error('the store gave no result');
    if (result.kind === 'conflict') {
      this.#tally.add(
        result.keys.includes(clusterKey) ? 'writes refused by the fence' : 'transactions that conflicted',
      );
      return result;
    }
    const { revision } = result;
    if (revision === this.#picture.revision()) return result;
    const before = this.#picture.snapshot();
    const batch: WatchBatch = {
      revision,
      changes: transaction.operations.map((operation) =>
        operation.kind === 'put'
          ? { kind: 'put', entry: { key: operation.key, value: operation.value, modRevision: revision } }
          : operation,
      ),
    };
    this.#picture.apply(batch);
    this.#tally.add('transactions committed');
    this.#recent = this.#recent.filter(({ untilMs }) => untilMs >= this.#nowMs() - recentMs).slice(-maxRecent);
    this.#recent.push({ untilMs: this.#nowMs(), snapshot: before });
    const after = this.#picture.snapshot();
    this.#committed({ before, after, batch, recent: [...this.#recent.map(({ snapshot }) => snapshot), after] });
    return result;
  }

  /**
   * Somebody else is a moment faster: a person who drains the node, or writes a stack again. Only records that people
   * write have more than one writer; tasks and services are the leader's alone.
   */
  async #interfere(transaction: Transaction): Promise<void> {
    const key = this.#random.pickAny(othersWrite(transaction));
    if (key === undefined) return;
    const { entries } = await this.#inner.range(key);
    const entry = entries.find((found) => found.key === key);
    if (entry === undefined) return;
    this.#tally.add('records changed just before a write');
    const drains = entry.key.startsWith('nodes/') && this.#random.chance(0.5);
    const value = drains ? encodeNode({ ...decodeNode(entry.value), availability: 'drain' }) : entry.value;
    await this.#commitOne({ compares: [], operations: [{ kind: 'put', key: entry.key, value }] });
  }

  async *#watch(life: Life, prefix: string, from: number, signal: AbortSignal): AsyncIterable<WatchBatch> {
    for await (const batch of this.#inner.watch(prefix, from, signal)) {
      await life.sleep(this.#random.between(watchLagMs.min, watchLagMs.max));
      if (this.#random.chance(this.weather.forgets)) {
        this.#tally.add('watches that broke');
        throw new FrotaError('conflict', 'simulated: these changes are forgotten');
      }
      yield batch;
    }
  }

  #mayFail(how: 'failsBefore' | 'failsAfter'): void {
    if (!this.#random.chance(this.weather[how])) return;
    this.#tally.add(how === 'failsBefore' ? 'store calls that failed' : 'store calls that failed after writing');
    throw new FrotaError('unavailable', 'simulated: the store does not answer');
  }

  #answersMs(): number {
    return this.#random.between(0.1, this.weather.slowMs);
  }
}

/** Keys of records that people write and this transaction stands on. */
function othersWrite({ compares, operations }: Transaction): readonly string[] {
  const stacks = compares.flatMap(({ key, modRevision }) =>
    modRevision > 0 && key.startsWith('stacks/') ? [key] : [],
  );
  const nodes = operations.flatMap((operation) => {
    if (operation.kind !== 'put' || !operation.key.startsWith('tasks/')) return [];
    const { nodeId } = decodeTask(operation.value);
    return nodeId === undefined ? [] : [nodeKey(nodeId)];
  });
  return [...stacks, ...nodes];
}

/** A result that a dead program never sees. */
async function alive<T>(life: Life, work: Promise<T>): Promise<T> {
  const result = await work;
  return life.alive ? result : await life.never<T>();
}
