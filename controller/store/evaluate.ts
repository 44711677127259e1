/** What one transaction does, decided once for the adapters that live in this process. */
import type { Transaction, TransactionResult, WatchBatch } from './store.ts';

export interface KeyedRecords {
  /** 0: the key does not exist. */
  modRevision(key: string): number;
  put(key: string, value: Uint8Array, modRevision: number): void;
  delete(key: string): void;
}

export interface Evaluation {
  readonly result: TransactionResult;
  /** Absent when nothing changed. */
  readonly batch?: WatchBatch;
}

/** Applies the transaction to `records`, at revision `revision + 1`, if its compares hold. */
export function evaluate(records: KeyedRecords, revision: number, transaction: Transaction): Evaluation {
  const failed = transaction.compares.filter(({ key, modRevision }) => records.modRevision(key) !== modRevision);
  if (failed.length > 0) {
    return { result: { kind: 'conflict', keys: [...new Set(failed.map(({ key }) => key))] } };
  }
  const next = revision + 1;
  const changes: WatchBatch['changes'][number][] = [];
  for (const operation of transaction.operations) {
    const { key } = operation;
    if (operation.kind === 'put') {
      records.put(key, operation.value, next);
      changes.push({ kind: 'put', entry: { key, value: operation.value, modRevision: next } });
    } else if (records.modRevision(key) !== 0) {
      records.delete(key);
      changes.push({ kind: 'delete', key });
    }
  }
  if (changes.length === 0) return { result: { kind: 'committed', revision } };
  return { result: { kind: 'committed', revision: next }, batch: { revision: next, changes } };
}

/** The transactions with values of their own: the caller may reuse its buffers at once. */
export function copyTransactions(transactions: readonly Transaction[]): readonly Transaction[] {
  return transactions.map(({ compares, operations }) => ({
    compares: [...compares],
    operations: operations.map((operation) =>
      operation.kind === 'put' ? { ...operation, value: Uint8Array.from(operation.value) } : operation,
    ),
  }));
}
