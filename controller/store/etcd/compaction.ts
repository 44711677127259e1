/**
 * etcd keeps every revision until it is told to forget, and its database grows to its quota. Nobody here reads old
 * ones but a watch that resumes, so what is older than an interval is compacted.
 */
import { describeError } from '../../../proto/base/errors.ts';
import type { Logger } from '../../../proto/base/log.ts';
import type { Store } from '../store.ts';

/** Longer than a watch takes to resume, a hundred times over; the history of a busy cluster's minutes is small. */
export const compactionIntervalMs = 5 * 60 * 1000;

export interface CompactionOptions {
  readonly currentRevision: () => Promise<number>;
  readonly compact: Store['compact'];
  readonly logger: Logger;
  readonly intervalMs: number;
}

/** @returns a function that ends it. */
export function startCompaction({ currentRevision, compact, logger, intervalMs }: CompactionOptions): () => void {
  let before: number | undefined;
  let ended = false;
  const timer = setInterval(() => void round(), intervalMs);
  timer.unref();

  async function round(): Promise<void> {
    try {
      const current = await currentRevision();
      if (before !== undefined) await compact(before);
      before = current;
    } catch (error) {
      // The next round compacts what this one did not.
      if (!ended) logger.warn({ error: describeError(error) }, 'etcd could not be compacted');
    }
  }

  return () => {
    ended = true;
    clearInterval(timer);
  };
}
