/** Keeps the history: follows the store, writes what it means as events, forgets the oldest. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../proto/base/clock.ts';
import { describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import {
  decodeEvent,
  decodeNode,
  decodeService,
  decodeStack,
  decodeTask,
  decodeTaskStatus,
  encodeEvent,
} from '../../proto/codec/records.ts';
import type { ClusterEvent, NewEvent } from '../../proto/domain/event.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import type { Compare, Entry, Operation, Store } from '../store/store.ts';
import { createObserver } from './observer.ts';
import type { RecordChange } from './observer.ts';

export interface ChronicleOptions {
  readonly store: Store;
  /** Compared by every write: a controller that no longer leads writes no history. */
  readonly fence: Compare;
  readonly epoch: number;
  /** Of the keys of events; what follows it is this room's. */
  readonly prefix: string;
  /** How a key is read; the store's business. */
  readonly parseKey: (key: string) => { readonly kind: string; readonly id?: string } | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** At the most; tests take fewer. */
  readonly limit?: number;
}

export interface Chronicle {
  /** Those kept, oldest first. @throws FrotaError as `Store.range`. */
  read(): Promise<readonly ClusterEvent[]>;
  /** Called with what has just been written, until the returned function is called. */
  onAppend(listener: (events: readonly ClusterEvent[]) => void): () => void;
  /** What is known elsewhere than in the store. */
  tell(events: readonly NewEvent[]): void;
  /** What the liveness judge says now. */
  liveness(states: ReadonlyMap<string, NodeLiveness>): void;
  close(): Promise<void>;
}

/** A drill or an update of a large stack makes some thousands; older ones belong into a log system. */
export const maxEvents = 10_000;
/** Puts, and as many deletions of the oldest, in one transaction, which has at most 128 operations. */
const maxEventsPerWrite = 60;
/** Gathers what one act causes; nobody reads events faster. */
const gatherMs = 20;
/** A store that does not answer is asked again after this long; what happens meanwhile waits in memory. */
const retryMs = 500;
/** What waits for a store that does not come back is dropped from here on, the oldest first. */
const maxWaiting = 20_000;

/** Sixteen digits hold every safe integer, and sort as text. */
const eventKey = (prefix: string, sequence: number): string => `${prefix}${String(sequence).padStart(16, '0')}`;

/** @throws FrotaError as `Store.range`; `corrupt` never: an event that can't be read is left out. */
export async function startChronicle(options: ChronicleOptions): Promise<Chronicle> {
  const chronicle = new StoredChronicle(options);
  await chronicle.begin();
  return chronicle;
}

class StoredChronicle implements Chronicle {
  readonly #options: ChronicleOptions;
  readonly #observer = createObserver();
  readonly #listeners = new Set<(events: readonly ClusterEvent[]) => void>();
  readonly #abort = new AbortController();
  readonly #limit: number;
  #waiting: { readonly event: NewEvent; readonly atMs: number }[] = [];
  #oldest = 1;
  #next = 1;
  #writing: Promise<void> | undefined;
  #following: Promise<void> = Promise.resolve();

  constructor(options: ChronicleOptions) {
    this.#options = options;
    this.#limit = options.limit ?? maxEvents;
  }

  async begin(): Promise<void> {
    const kept = await this.read();
    this.#oldest = kept[0]?.sequence ?? 1;
    this.#next = (kept.at(-1)?.sequence ?? 0) + 1;
    const told = kept.reduce((newest, { revision }) => Math.max(newest, revision), 0);
    const revision = await this.#catchUp(told);
    this.#add([{ kind: 'controller.started', message: `leads as epoch ${String(this.#options.epoch)}`, revision: 0 }]);
    this.#following = this.#follow(revision);
  }

  async read(): Promise<readonly ClusterEvent[]> {
    const { entries } = await this.#options.store.range(this.#options.prefix);
    return entries.flatMap((entry) => this.#decoded(entry.key, () => decodeEvent(entry.value)) ?? []);
  }

  onAppend(listener: (events: readonly ClusterEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(events: readonly NewEvent[]): void {
    this.#add(events);
  }

  liveness(states: ReadonlyMap<string, NodeLiveness>): void {
    this.#add(this.#observer.observeLiveness(states));
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#following;
    await this.#writing;
  }

  /** Sees every record as it is; what has changed since `told` is news. @returns the revision to follow from. */
  async #catchUp(told: number): Promise<number> {
    const { entries, revision } = await this.#options.store.range('');
    // In the order in which it happened, so that causes come before what they caused.
    const sorted = [...entries].sort((a, b) => a.modRevision - b.modRevision);
    for (const entry of sorted) {
      const events = this.#observe(entry.key, entry);
      if (entry.modRevision > told) this.#add(events);
    }
    return revision;
  }

  async #follow(from: number): Promise<void> {
    const { store, logger } = this.#options;
    const { signal } = this.#abort;
    let revision = from;
    while (!signal.aborted) {
      try {
        for await (const batch of store.watch('', revision, signal)) {
          for (const change of batch.changes) {
            const entry = change.kind === 'put' ? change.entry : undefined;
            this.#add(this.#observe(change.kind === 'put' ? change.entry.key : change.key, entry));
          }
          revision = batch.revision;
        }
      } catch (error) {
        if (this.#isClosed()) return;
        logger.warn({ error: describeError(error) }, 'the history lost its watch of the store; it looks anew');
        await sleep(retryMs, undefined, { signal }).catch(() => undefined);
        revision = await this.#catchUp(revision).catch(() => revision);
      }
    }
  }

  /** Read through a method: it changes during an `await`, which control flow analysis does not see. */
  #isClosed(): boolean {
    return this.#abort.signal.aborted;
  }

  #observe(key: string, entry: Entry | undefined): readonly NewEvent[] {
    const parsed = this.#options.parseKey(key);
    if (parsed?.id === undefined) return [];
    const { kind, id } = parsed;
    const change = this.#decoded(key, () => recordChange(kind, id, entry));
    return change === undefined ? [] : this.#observer.observe(change, entry?.modRevision ?? 0);
  }

  /** A record that can't be read is told by the mirror; here it is only left out. */
  #decoded<T>(key: string, decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      this.#options.logger.debug({ key, error: describeError(error) }, 'left out of the history');
      return undefined;
    }
  }

  #add(events: readonly NewEvent[]): void {
    if (events.length === 0) return;
    const atMs = this.#options.clock.now().wallMs;
    this.#waiting.push(...events.map((event) => ({ event, atMs })));
    if (this.#waiting.length > maxWaiting) this.#waiting = this.#waiting.slice(-maxWaiting);
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  async #write(): Promise<void> {
    const { signal } = this.#abort;
    await sleep(gatherMs, undefined, { signal }).catch(() => undefined);
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, Math.min(maxEventsPerWrite, this.#limit));
      const events = batch.map(({ event, atMs }, index) => ({ ...event, atMs, sequence: this.#next + index }));
      try {
        if (!(await this.#commit(events))) return;
      } catch (error) {
        this.#options.logger.warn({ error: describeError(error) }, 'events could not be written; tried again');
        if (this.#isClosed()) return;
        await sleep(retryMs, undefined, { signal }).catch(() => undefined);
        continue;
      }
      this.#waiting = this.#waiting.slice(batch.length);
      this.#next += events.length;
      for (const listener of this.#listeners) listener(events);
    }
  }

  /** @returns false when another controller leads. */
  async #commit(events: readonly ClusterEvent[]): Promise<boolean> {
    const { store, fence, prefix, logger } = this.#options;
    const surplus = Math.max(0, this.#next + events.length - this.#oldest - this.#limit);
    // A smaller limit than before is reached little by little.
    const forgotten = Array.from(
      { length: Math.min(surplus, maxEventsPerWrite, this.#next - this.#oldest) },
      (_, index) => this.#oldest + index,
    );
    const operations: Operation[] = [
      ...events.map((event) => ({
        kind: 'put' as const,
        key: eventKey(prefix, event.sequence),
        value: encodeEvent(event),
      })),
      ...forgotten.map((sequence) => ({ kind: 'delete' as const, key: eventKey(prefix, sequence) })),
    ];
    const [result] = await store.commit([{ compares: [fence], operations }]);
    if (result?.kind === 'committed') {
      this.#oldest += forgotten.length;
      return true;
    }
    logger.warn({}, 'another controller has taken over this cluster; this one writes no history any more');
    this.#waiting = [];
    this.#abort.abort();
    return false;
  }
}

function recordChange(kind: string, id: string, entry: Entry | undefined): RecordChange | undefined {
  switch (kind) {
    case 'stack':
      return { kind, id, value: entry && decodeStack(entry.value) };
    case 'service':
      return { kind, id, value: entry && decodeService(entry.value) };
    case 'task':
      return { kind, id, value: entry && decodeTask(entry.value) };
    case 'status':
      return { kind, id, value: entry && decodeTaskStatus(entry.value) };
    case 'node':
      return { kind, id, value: entry && decodeNode(entry.value) };
    default:
      return undefined;
  }
}
