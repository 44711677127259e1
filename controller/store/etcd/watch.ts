/**
 * A watch over one etcd stream after the other: when one breaks, the next goes on after the last revision that was
 * shown. What the reader has not taken waits at etcd; a reader who is too slow meets compaction there.
 */
import type { IWatchResponse } from 'etcd3';
import { backoffMs } from '../../../proto/base/backoff.ts';
import type { BackoffPolicy } from '../../../proto/base/backoff.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { pause } from '../../../proto/base/pause.ts';
import { storeClosed } from '../change-feed.ts';
import { checkRevision } from '../limits.ts';
import type { WatchBatch } from '../store.ts';
import { etcdError } from './etcd-errors.ts';
import type { KeySpace } from './key-space.ts';
import { callTimeoutMs } from './members.ts';
import type { Members, OpenWatch } from './members.ts';

/** A member that is restarted, or an election, is over by then; whoever watches is told what takes longer. */
const resumeWithinMs = 10_000;
const resumeBackoff: BackoffPolicy = { firstMs: 20, factor: 2, maxMs: 500 };

export interface WatchOptions {
  readonly members: Members;
  readonly space: KeySpace;
  readonly prefix: string;
  readonly fromRevision: number;
  /** The reader's wish to end. */
  readonly signal: AbortSignal;
  /** The store's end. */
  readonly closed: AbortSignal;
}

/** How far a watch has come, kept across its streams. */
interface Progress {
  /** Everything up to here has been shown. */
  position: number;
  /** The highest revision of the store that was ever told. */
  newest: number;
  /** When the stream broke, until the next one stands. */
  brokenAtMs: number | undefined;
  failures: number;
}

/** `Store.watch`. */
export async function* watchPrefix(options: WatchOptions): AsyncGenerator<WatchBatch> {
  const { members, fromRevision, signal, closed } = options;
  checkRevision(fromRevision);
  const progress: Progress = { position: fromRevision, newest: 0, brokenAtMs: undefined, failures: 0 };
  const ended = (): boolean => {
    if (!signal.aborted && closed.aborted) throw storeClosed();
    return signal.aborted;
  };
  while (!ended()) {
    try {
      yield* readStream(await members.openWatch(), options, progress);
    } catch (thrown) {
      if (ended()) return;
      const error = FrotaError.from(thrown);
      const nowMs = performance.now();
      progress.brokenAtMs ??= nowMs;
      if (error.code !== 'unavailable' || nowMs - progress.brokenAtMs > resumeWithinMs) throw error;
      await pause(backoffMs(resumeBackoff, progress.failures, Math.random()), AbortSignal.any([signal, closed]));
      progress.failures += 1;
    }
  }
}

async function* readStream(open: OpenWatch, options: WatchOptions, progress: Progress): AsyncGenerator<WatchBatch> {
  const { stream, where, lost } = open;
  const { space, prefix, signal, closed } = options;
  const cancel = (): void => {
    stream.cancel();
  };
  const ends = [signal, closed, lost];
  for (const end of ends) end.addEventListener('abort', cancel);
  const timer = setTimeout(cancel, callTimeoutMs);
  try {
    if (ends.some((end) => end.aborted)) cancel();
    stream.write({ create_request: { ...space.range(prefix), start_revision: progress.position + 1 } });
    for await (const response of stream) {
      clearTimeout(timer);
      refuseCanceled(response, where, progress.position);
      if (response.created) begin(response, where, progress);
      for (const batch of batchesOf(response, space)) {
        progress.position = batch.revision;
        progress.newest = Math.max(progress.newest, batch.revision);
        yield batch;
      }
    }
  } catch (thrown) {
    throw etcdError(thrown, where);
  } finally {
    clearTimeout(timer);
    for (const end of ends) end.removeEventListener('abort', cancel);
    stream.cancel();
  }
  throw new FrotaError('unavailable', `etcd at ${where} ended a watch`);
}

/** @throws FrotaError `conflict` when etcd has less than it had: a restored one, or a member that lags behind. */
function begin(response: IWatchResponse, where: string, progress: Progress): void {
  const revision = Number(response.header.revision);
  if (revision < progress.newest) {
    throw new FrotaError(
      'conflict',
      `etcd at ${where} is at revision ${String(revision)} and was at ${String(progress.newest)}: it has gone back, or lags behind; read the range again`,
    );
  }
  progress.newest = revision;
  progress.brokenAtMs = undefined;
  progress.failures = 0;
}

function refuseCanceled(response: IWatchResponse, where: string, position: number): void {
  if (!response.canceled) return;
  if (Number(response.compact_revision) > 0) {
    throw new FrotaError(
      'conflict',
      `changes after revision ${String(position)} are forgotten, etcd at ${where} is compacted at ${response.compact_revision}: read the range again and watch from there`,
    );
  }
  throw new FrotaError('unavailable', `etcd at ${where} ended a watch: ${response.cancel_reason}`);
}

/** A message holds whole revisions, in order. */
function batchesOf(response: IWatchResponse, space: KeySpace): readonly WatchBatch[] {
  const batches = new Map<number, WatchBatch['changes'][number][]>();
  for (const event of response.events) {
    const revision = Number(event.kv.mod_revision);
    const changes = batches.get(revision);
    if (changes === undefined) batches.set(revision, [space.change(event)]);
    else changes.push(space.change(event));
  }
  return [...batches].map(([revision, changes]) => ({ revision, changes }));
}
