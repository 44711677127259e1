/** The store for tests: the whole port, nothing durable. */
import { createChangeFeed, storeClosed } from '../change-feed.ts';
import { copyTransactions, evaluate } from '../evaluate.ts';
import type { KeyedRecords } from '../evaluate.ts';
import { checkTransactions } from '../limits.ts';
import type { Entry, Store } from '../store.ts';

export function createMemoryStore(): Store {
  const entries = new Map<string, Entry>();
  const feed = createChangeFeed(0);
  let closed = false;
  const records: KeyedRecords = {
    modRevision: (key) => entries.get(key)?.modRevision ?? 0,
    put: (key, value, modRevision) => entries.set(key, { key, value, modRevision }),
    delete: (key) => entries.delete(key),
  };

  /** The port's operations are asynchronous, so what they throw must come as a rejection. */
  async function whileOpen<T>(work: () => T): Promise<T> {
    await Promise.resolve();
    if (closed) throw storeClosed();
    return work();
  }

  return {
    range: (prefix) =>
      whileOpen(() => ({
        entries: [...entries.values()].filter(({ key }) => key.startsWith(prefix)).sort(byKeyBytes),
        revision: feed.revision(),
      })),
    commit: (transactions) => {
      const copies = copyTransactions(transactions);
      return whileOpen(() => {
        checkTransactions(copies);
        return copies.map((transaction) => {
          const { result, batch } = evaluate(records, feed.revision(), transaction);
          if (batch !== undefined) feed.publish(batch);
          return result;
        });
      });
    },
    watch: feed.watch,
    compact: (revision) =>
      whileOpen(() => {
        feed.compact(revision);
      }),
    close: async () => {
      closed = true;
      feed.close();
      await Promise.resolve();
    },
  };
}

const byKeyBytes = (a: Entry, b: Entry): number => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key));
