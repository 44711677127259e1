/**
 * The recent history of a store that lives in this process, and the watches that read it. A watch keeps no queue of its
 * own: it is a position in the one history, so that a slow reader costs no memory; it is told `conflict` when what it
 * has not read yet is forgotten.
 */
import { FrotaError } from '../../proto/base/errors.ts';
import { assert } from '../../proto/base/assert.ts';
import { checkRevision } from './limits.ts';
import type { WatchBatch } from './store.ts';

export interface ChangeFeed {
  /** The last published revision. */
  revision(): number;
  /** The next revision's batch; revisions have no gaps. */
  publish(batch: WatchBatch): void;
  /** `Store.watch`. */
  watch(prefix: string, fromRevision: number, signal: AbortSignal): AsyncIterable<WatchBatch>;
  /** `Store.compact`. */
  compact(revision: number): void;
  /** Running watches end with `unavailable`. */
  close(): void;
}

/** Enough for a watch that falls behind during the largest deployments; a full read costs less than more history. */
export const maxHistoryBatches = 10_000;
/** Bounds the memory of history when values are large. */
export const maxHistoryBytes = 32 * 1024 * 1024;

export function createChangeFeed(startRevision: number): ChangeFeed {
  // batches[i] is the one of revision floor + 1 + i; `floor` is the oldest revision that can be watched from.
  let batches: { readonly batch: WatchBatch; readonly bytes: number }[] = [];
  let floor = startRevision;
  let bytesHeld = 0;
  let closed = false;
  const bell = createBell();

  const newest = (): number => floor + batches.length;

  function forgetFirst(count: number): void {
    for (const { bytes } of batches.slice(0, count)) bytesHeld -= bytes;
    batches = batches.slice(count);
    floor += count;
  }

  async function* watch(prefix: string, fromRevision: number, signal: AbortSignal): AsyncGenerator<WatchBatch> {
    checkRevision(fromRevision);
    let position = fromRevision;
    while (!signal.aborted) {
      if (closed) throw storeClosed();
      if (position < floor) throw compacted(position, floor);
      const batch = batches[position - floor]?.batch;
      if (batch === undefined) {
        await bell.heard(signal);
        continue;
      }
      position = batch.revision;
      const changes = batch.changes.filter((change) => changedKey(change).startsWith(prefix));
      if (changes.length > 0) yield { revision: batch.revision, changes };
    }
  }

  return {
    revision: newest,
    publish: (batch) => {
      assert(batch.revision === newest() + 1, `revision ${String(batch.revision)} published after ${String(newest())}`);
      const bytes = batchBytes(batch);
      batches.push({ batch, bytes });
      bytesHeld += bytes;
      // A tenth more than allowed before trimming: otherwise each batch would move all others.
      if (batches.length > maxHistoryBatches * 1.1) forgetFirst(batches.length - maxHistoryBatches);
      if (bytesHeld > maxHistoryBytes) forgetFirst(Math.ceil(batches.length / 2));
      bell.ring();
    },
    watch,
    compact: (revision) => {
      checkRevision(revision);
      if (revision > newest()) {
        throw new FrotaError(
          'invalid',
          `cannot compact at revision ${String(revision)}: the store is at ${String(newest())}`,
        );
      }
      if (revision > floor) forgetFirst(revision - floor);
      bell.ring();
    },
    close: () => {
      closed = true;
      batches = [];
      bell.ring();
    },
  };
}

/** Wakes all that wait; a waiter whose signal aborts wakes too. */
function createBell() {
  const sleepers = new Set<() => void>();
  return {
    ring: (): void => {
      for (const wake of [...sleepers]) wake();
    },
    heard: (signal: AbortSignal): Promise<void> =>
      new Promise((resolve) => {
        const wake = (): void => {
          sleepers.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        sleepers.add(wake);
        signal.addEventListener('abort', wake);
      }),
  };
}

export const storeClosed = (): FrotaError => new FrotaError('unavailable', 'the store is closed');

const compacted = (asked: number, oldest: number): FrotaError =>
  new FrotaError(
    'conflict',
    `changes after revision ${String(asked)} are forgotten; ${String(oldest)} is the oldest: read the range again and watch from there`,
  );

const changedKey = (change: WatchBatch['changes'][number]): string =>
  change.kind === 'put' ? change.entry.key : change.key;

function batchBytes(batch: WatchBatch): number {
  let bytes = 0;
  for (const change of batch.changes) {
    bytes += changedKey(change).length + (change.kind === 'put' ? change.entry.value.length : 0);
  }
  return bytes;
}
