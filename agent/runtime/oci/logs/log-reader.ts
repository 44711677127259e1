/** Reads a container's log for a query: from the right place, in batches, and on while the container lives. */
import { watch } from 'node:fs';
import { pause } from '../../../../proto/base/pause.ts';
import type { LogLine, LogQuery } from '../../../../proto/domain/logs.ts';
import { LineFilter } from './line-filter.ts';
import { LineJoiner, type JoinedLine } from './line-joiner.ts';
import { logEnd, LogCursor, type LogEnd } from './log-cursor.ts';
import { EntrySplitter } from './log-entry.ts';
import { findStart, type LogStart } from './log-start.ts';

export interface LogSource {
  /** In the order in which the files move: first the container's own, then the one of ended containers. */
  readonly folders: readonly [own: string, kept: string];
  /** Nothing more will be written. */
  ended(): boolean;
  /** Now, in the form of `LogLine.time`. */
  now(): string;
}

/** One read of a file; also what a batch of short lines is made of. */
const chunkBytes = 64 * 1024;
/** A message on the wire carries one batch: large enough to be cheap, small enough to come soon. */
const maxBatchLines = 1_000;
const maxBatchBytes = 256 * 1024;
/** For changes that the watch does not tell: the end of the container, a host without a free inotify instance. */
const pollMs = 250;
/** After a change: a program that writes line by line is not read line by line. */
const settleMs = 20;

/** Ends quietly when `signal` aborts. */
export async function* readLog(
  source: LogSource,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<readonly LogLine[]> {
  const { folders } = source;
  const [start, end] = await Promise.all([findStart(folders, query), logEnd(folders)]);
  const counts = query.tail !== undefined && query.after === undefined;
  const skip = counts ? Math.max(0, (await countLines(source, query, start, end)) - query.tail) : 0;
  const reading = new Reading(source, query, { start, skip, end: query.follow ? undefined : end });
  // Without a log there is nothing to stop at, and nothing to read either.
  if (end === undefined && !query.follow) return;
  try {
    while (!signal.aborted) {
      // Looked at before the read: what is written at the very end is read after it.
      const last = !query.follow || source.ended();
      const { lines, atEnd } = await reading.next(last);
      if (lines.length > 0) yield lines;
      if (!atEnd) continue;
      if (last || (query.until !== undefined && source.now() > query.until)) return;
      await changed(folders[0], reading, signal);
    }
  } finally {
    await reading.close();
  }
}

/** How many lines the query means of those that are there. */
async function countLines(
  source: LogSource,
  query: LogQuery,
  start: LogStart | undefined,
  end: LogEnd | undefined,
): Promise<number> {
  if (end === undefined) return 0;
  const reading = new Reading(source, query, { start, skip: 0, end });
  let count = 0;
  try {
    for (;;) {
      // A line that has begun counts where it will be shown: with its end, if the reading goes on.
      const { lines, atEnd } = await reading.next(!query.follow);
      count += lines.length;
      if (atEnd) return count;
    }
  } finally {
    await reading.close();
  }
}

/** One pass over the files. */
class Reading {
  readonly #cursor: LogCursor;
  readonly #splitter: EntrySplitter;
  readonly #joiner = new LineJoiner();
  readonly #filter: LineFilter;

  constructor(
    { folders }: LogSource,
    query: LogQuery,
    { start, skip, end }: { start: LogStart | undefined; skip: number; end: LogEnd | undefined },
  ) {
    this.#cursor = new LogCursor(folders, start, end);
    this.#splitter = new EntrySplitter(start !== undefined && start.offset > 0);
    this.#filter = new LineFilter(query, skip);
  }

  /** A batch. `last`: at the end, what was begun and not ended is a line too. */
  async next(last: boolean): Promise<{ readonly lines: readonly LogLine[]; readonly atEnd: boolean }> {
    const lines: LogLine[] = [];
    let bytes = 0;
    const take = (joined: JoinedLine | undefined): void => {
      const line = joined && this.#filter.take(joined);
      if (line === undefined) return;
      lines.push(line);
      bytes += line.text.length;
    };
    while (lines.length < maxBatchLines && bytes < maxBatchBytes) {
      // A buffer of its own for each read: the lines keep a hold on it.
      const buffer = Buffer.allocUnsafeSlow(chunkBytes);
      const read = await this.#cursor.read(buffer);
      if (read === 0) {
        if (last) for (const line of this.#joiner.flush()) take(line);
        return { lines, atEnd: true };
      }
      for (const entry of this.#splitter.push(buffer.subarray(0, read))) take(this.#joiner.push(entry));
    }
    return { lines, atEnd: false };
  }

  /** Whether there is more to read than there was. */
  hasMore(): Promise<boolean> {
    return this.#cursor.hasMore();
  }

  close(): Promise<void> {
    return this.#cursor.close();
  }
}

/** Until something may have been written. */
async function changed(folder: string, reading: Reading, signal: AbortSignal): Promise<void> {
  const woken = new AbortController();
  const watcher = tryWatch(folder, () => {
    woken.abort();
  });
  try {
    // Written between the last read and the watch: no event tells of it.
    if (await reading.hasMore()) return;
    await pause(pollMs, AbortSignal.any([signal, woken.signal]));
    if (woken.signal.aborted) await pause(settleMs, signal);
  } finally {
    watcher?.close();
  }
}

function tryWatch(folder: string, onChange: () => void): { close(): void } | undefined {
  try {
    const watcher = watch(folder, onChange);
    watcher.on('error', onChange);
    return watcher;
  } catch {
    return undefined;
  }
}
