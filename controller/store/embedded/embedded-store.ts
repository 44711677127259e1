/**
 * The default store: one controller, one LMDB file, every commit fsynced before it resolves. Calls that wait together
 * share one LMDB transaction. LMDB's asynchronous transactions are not used: on this library version they can hang, and
 * a full disk there rejects a promise nobody holds, which ends the process.
 *
 * History for watches is kept in memory only. All watches live in this process and read the range when they start, so
 * after a restart nobody can ask for an older revision than the current one; a log on disk would be written for no reader.
 */
import { mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import type { RootDatabase } from 'lmdb';
import { FrotaError } from '../../../proto/base/errors.ts';
import { createChangeFeed, storeClosed } from '../change-feed.ts';
import { copyTransactions, evaluate } from '../evaluate.ts';
import type { Evaluation } from '../evaluate.ts';
import { checkTransactions } from '../limits.ts';
import type { Range, Store, Transaction, TransactionResult } from '../store.ts';
import { checkFile, corruptFile } from './file-check.ts';
import { lockFile } from './folder-lock.ts';
import { embeddedRecords, readRange, readRevision, writeRevision } from './records.ts';

/** Far beyond any cluster one controller steers (a task is about 1 KB); a runaway writer must meet a limit before the disk does. */
export const maxStoreBytes = 2 * 1024 * 1024 * 1024;
/** Transactions in one LMDB transaction at the most: it runs on the main thread, which must not stand still for long. */
const maxGroupedTransactions = 2_000;

interface Waiting {
  readonly transactions: readonly Transaction[];
  readonly resolve: (results: readonly TransactionResult[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Opens or creates the store in `folder`.
 * @throws FrotaError `conflict` when another process uses the folder, `corrupt`, `unsupported`, `exhausted`.
 */
export function openEmbeddedStore(folder: string): Store {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const lock = lockFile(join(folder, 'store.lock'), `the store in ${folder}`);
  const path = join(folder, 'store.lmdb');
  try {
    checkFile(path);
    const database = openDatabase(path);
    return createStore(database, folder, readRevision(database, path), () => {
      lock.release();
    });
  } catch (error) {
    lock.release();
    throw FrotaError.from(error);
  }
}

function openDatabase(path: string): RootDatabase<Buffer, Buffer> {
  try {
    return open<Buffer, Buffer>({
      path,
      noSubdir: true,
      encoding: 'binary',
      keyEncoding: 'binary',
      // Otherwise a commit would be visible before it is on disk.
      overlappingSync: false,
    });
  } catch (error) {
    throw corruptFile(path, 'LMDB cannot open it', error);
  }
}

function createStore(
  database: RootDatabase<Buffer, Buffer>,
  folder: string,
  startRevision: number,
  unlock: () => void,
): Store {
  const feed = createChangeFeed(startRevision);
  let waiting: Waiting[] = [];
  let flushing: Promise<void> | undefined;
  let closed = false;

  const write = (transactions: readonly Transaction[]): readonly Evaluation[] =>
    writeDurably(database, folder, feed.revision(), transactions);

  /** A group that fails is tried call by call, so that a large write on a full disk does not take small ones with it. */
  function flush(group: readonly Waiting[]): void {
    try {
      settle(group, write(group.flatMap(({ transactions }) => transactions)));
    } catch (error) {
      if (group.length === 1) group[0]?.reject(error);
      else for (const call of group) flush([call]);
    }
  }

  function settle(group: readonly Waiting[], evaluations: readonly Evaluation[]): void {
    for (const { batch } of evaluations) if (batch !== undefined) feed.publish(batch);
    let next = 0;
    for (const { transactions, resolve } of group) {
      resolve(evaluations.slice(next, next + transactions.length).map(({ result }) => result));
      next += transactions.length;
    }
  }

  async function flushAll(): Promise<void> {
    while (waiting.length > 0) {
      // What else arrives in this turn of the event loop shares the fsync.
      await new Promise<void>((resolve) => setImmediate(resolve));
      const count = groupSize(waiting);
      const group = waiting.slice(0, count);
      waiting = waiting.slice(count);
      flush(group);
    }
    flushing = undefined;
  }

  return {
    range: async (prefix): Promise<Range> => {
      await Promise.resolve();
      if (closed) throw storeClosed();
      return { entries: readRange(database, prefix), revision: feed.revision() };
    },
    commit: async (transactions) => {
      if (closed) throw storeClosed();
      checkTransactions(transactions);
      if (transactions.length === 0) return [];
      return new Promise((resolve, reject) => {
        waiting.push({ transactions: copyTransactions(transactions), resolve, reject });
        flushing ??= flushAll();
      });
    },
    watch: feed.watch,
    compact: async (revision) => {
      await Promise.resolve();
      if (closed) throw storeClosed();
      feed.compact(revision);
    },
    close: async () => {
      if (closed) return;
      closed = true;
      await flushing;
      feed.close();
      await database.close();
      unlock();
    },
  };
}

/** One durable LMDB transaction after revision `before`; all of it or, when it throws, nothing. */
function writeDurably(
  database: RootDatabase<Buffer, Buffer>,
  folder: string,
  before: number,
  transactions: readonly Transaction[],
): readonly Evaluation[] {
  const puts = transactions.some(({ operations }) => operations.some(({ kind }) => kind === 'put'));
  if (puts) refuseBeyondLimit(database, folder);
  try {
    return database.transactionSync(() => {
      const records = embeddedRecords(database);
      let revision = before;
      const evaluations = transactions.map((transaction) => {
        const evaluation = evaluate(records, revision, transaction);
        if (evaluation.batch !== undefined) ({ revision } = evaluation.batch);
        return evaluation;
      });
      if (revision !== before) writeRevision(database, revision);
      return evaluations;
    });
  } catch (error) {
    throw writeError(error, folder);
  }
}

/** At least one call, and more while they stay within the limit. */
function groupSize(waiting: readonly Waiting[]): number {
  let transactions = 0;
  const over = waiting.findIndex((call) => (transactions += call.transactions.length) > maxGroupedTransactions);
  return over === -1 ? waiting.length : Math.max(1, over);
}

function refuseBeyondLimit(database: RootDatabase<Buffer, Buffer>, folder: string): void {
  const { lastPageNumber, pageSize } = database.getStats() as { lastPageNumber: number; pageSize: number };
  if (lastPageNumber * pageSize < maxStoreBytes) return;
  throw new FrotaError(
    'exhausted',
    `the store in ${folder} has reached its limit of ${String(maxStoreBytes / 1024 ** 2)} MiB: remove stacks that are not needed`,
  );
}

/** LMDB tells a full disk as a short write (EIO), so the disk itself is asked. Less than this is full: a commit needs a few pages. */
const fullDiskBytes = 4 * 1024 * 1024;

function writeError(error: unknown, folder: string): FrotaError {
  if (error instanceof FrotaError) return error;
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < fullDiskBytes) {
    return new FrotaError('exhausted', `the disk that holds ${folder} is full: nothing was written; make room on it`, {
      cause: error,
    });
  }
  return new FrotaError('unavailable', `the store in ${folder} could not be written`, { cause: error });
}
