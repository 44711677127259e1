/** One immutable snapshot of the store, always fresh: the range read once, then the watch. */
import { backoffMs } from '../../proto/base/backoff.ts';
import type { BackoffPolicy } from '../../proto/base/backoff.ts';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { pause } from '../../proto/base/pause.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { createPicture } from './picture.ts';
import type { Store } from './store.ts';

export interface Mirror {
  /** The same object until something changes. */
  snapshot(): Snapshot;
  /** Called after the snapshot has changed, once for what arrived together. @returns a function that ends it. */
  onChange(listener: () => void): () => void;
  /**
   * Shows a status that is not stored, until the store has one as far or the task is gone.
   * @returns whether it is news: only forward moves of tasks that exist are.
   */
  reportTransient(status: TaskStatus): boolean;
  /** Resolves when the snapshot shows `revision`. @throws FrotaError `cancelled` when the mirror is closed before. */
  waitForRevision(revision: number): Promise<void>;
  /** By key: records that could not be decoded and are missing from the snapshot, with the reason. */
  unreadable(): ReadonlyMap<string, string>;
  close(): Promise<void>;
}

/** A store that restarts is back within a second; a person looks at the log after a few. */
const rereadBackoff: BackoffPolicy = { firstMs: 20, factor: 2, maxMs: 2_000 };

interface Waiter {
  readonly revision: number;
  readonly resolve: () => void;
  readonly reject: (error: FrotaError) => void;
}

/** Resolves with the first complete snapshot. @throws FrotaError as `Store.range`. */
export async function startMirror(store: Store, logger: Logger): Promise<Mirror> {
  const picture = createPicture(logger);
  const abort = new AbortController();
  const listeners = createListeners();
  let waiters: readonly Waiter[] = [];

  function changed(announce = true): void {
    const revision = picture.revision();
    const reached = waiters.filter((waiter) => waiter.revision <= revision);
    waiters = waiters.filter((waiter) => waiter.revision > revision);
    for (const { resolve } of reached) resolve();
    if (announce) listeners.announce();
  }

  async function follow(): Promise<void> {
    let failures = 0;
    while (!abort.signal.aborted) {
      try {
        for await (const batch of store.watch('', picture.revision(), abort.signal)) {
          failures = 0;
          changed(picture.apply(batch));
        }
        return;
      } catch (error) {
        logger.warn({ error: describeError(error) }, 'the watch of the store broke; reading everything again');
      }
      await pause(backoffMs(rereadBackoff, failures, Math.random()), abort.signal);
      failures += 1;
      await reread();
    }
  }

  async function reread(): Promise<void> {
    try {
      picture.replace(await store.range(''));
      changed();
    } catch (error) {
      // The watch is tried next, fails likewise, and brings us back here.
      if (!abort.signal.aborted) logger.warn({ error: describeError(error) }, 'the store cannot be read');
    }
  }

  picture.replace(await store.range(''));
  const following = follow();
  return {
    snapshot: picture.snapshot,
    onChange: listeners.add,
    reportTransient: (status) => {
      const news = picture.reportTransient(status);
      if (news) changed();
      return news;
    },
    waitForRevision: (revision) =>
      new Promise((resolve, reject) => {
        if (abort.signal.aborted) reject(mirrorClosed());
        else if (picture.revision() >= revision) resolve();
        else waiters = [...waiters, { revision, resolve, reject }];
      }),
    unreadable: picture.unreadable,
    close: async () => {
      abort.abort();
      for (const { reject } of waiters) reject(mirrorClosed());
      waiters = [];
      listeners.clear();
      await following;
    },
  };
}

/** Calls all listeners once for everything that is announced in one turn. */
function createListeners() {
  const listeners = new Set<() => void>();
  let announced = false;
  return {
    add: (listener: () => void): (() => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    clear: (): void => {
      listeners.clear();
    },
    announce: (): void => {
      if (announced) return;
      announced = true;
      queueMicrotask(() => {
        announced = false;
        for (const listener of listeners) listener();
      });
    },
  };
}

const mirrorClosed = (): FrotaError => new FrotaError('cancelled', 'the mirror of the store is closed');
