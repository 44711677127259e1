/**
 * Commits in the order they were asked for, one request to etcd at a time: what waits meanwhile goes together. Calls are
 * not mixed up by this; one that fails gives up the rest of its transactions and leaves the other calls alone.
 */
import { storeClosed } from '../change-feed.ts';
import type { Transaction, TransactionResult } from '../store.ts';
import { createGroup } from './transactions.ts';

export interface CommitQueue {
  commit(transactions: readonly Transaction[]): Promise<readonly TransactionResult[]>;
  /** Waits for the request under way; what has not been sent is refused. */
  close(): Promise<void>;
}

interface Call {
  readonly transactions: readonly Transaction[];
  readonly results: TransactionResult[];
  readonly resolve: (results: readonly TransactionResult[]) => void;
  readonly reject: (error: unknown) => void;
}

type Send = (transactions: readonly Transaction[]) => Promise<readonly TransactionResult[]>;

export function createCommitQueue(send: Send): CommitQueue {
  let calls: readonly Call[] = [];
  let sending: Promise<void> | undefined;
  let closed = false;

  async function sendAll(): Promise<void> {
    // What else is asked for in this turn goes along.
    await Promise.resolve();
    while (calls.length > 0 && !closed) {
      const { transactions, callers } = nextGroup(calls);
      try {
        const results = await send(transactions);
        for (const [index, call] of callers.entries()) {
          const result = results[index];
          if (result !== undefined) call.results.push(result);
        }
        for (const call of calls) if (isDone(call)) call.resolve(call.results);
        calls = calls.filter((call) => !isDone(call));
      } catch (error) {
        const failed = new Set(callers);
        for (const { reject } of failed) reject(error);
        calls = calls.filter((call) => !failed.has(call));
      }
    }
    sending = undefined;
  }

  return {
    commit: (transactions) =>
      new Promise((resolve, reject) => {
        calls = [...calls, { transactions, results: [], resolve, reject }];
        sending ??= sendAll();
      }),
    close: async () => {
      closed = true;
      await sending;
      for (const { reject } of calls) reject(storeClosed());
      calls = [];
    },
  };
}

const isDone = ({ transactions, results }: Call): boolean => results.length === transactions.length;

/** As many as may go together, in order; `callers[i]` is the call of `transactions[i]`. */
function nextGroup(calls: readonly Call[]): { transactions: readonly Transaction[]; callers: readonly Call[] } {
  const group = createGroup();
  const callers: Call[] = [];
  for (const call of calls) {
    for (const transaction of call.transactions.slice(call.results.length)) {
      if (!group.add(transaction)) return { transactions: group.transactions, callers };
      callers.push(call);
    }
  }
  return { transactions: group.transactions, callers };
}
