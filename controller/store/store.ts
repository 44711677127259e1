/**
 * The store port, in etcd's terms. A key has a modification revision; the store has one revision that every
 * committed transaction raises. Adapters: `memory`, `embedded`, `etcd`; one contract suite in `test/contracts`.
 */

/** A key's value with the revision of the transaction that last wrote it. */
export interface Entry {
  readonly key: string;
  readonly value: Uint8Array;
  readonly modRevision: number;
}

/** Holds if the key's `modRevision` is the given one; 0: the key does not exist. */
export interface Compare {
  readonly key: string;
  readonly modRevision: number;
}

export type Operation =
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: string };

/**
 * All operations happen, at one revision, if all compares hold; otherwise none. No key is written twice in one
 * transaction. One that changes nothing (it only compares, or deletes what is not there) does not raise the revision.
 */
export interface Transaction {
  readonly compares: readonly Compare[];
  readonly operations: readonly Operation[];
}

export type TransactionResult =
  /** Whoever has seen all changes up to `revision` has seen what the transaction did. */
  | { readonly kind: 'committed'; readonly revision: number }
  /** Keys whose compare did not hold. */
  | { readonly kind: 'conflict'; readonly keys: readonly string[] };

/** What happened to the watched prefix at one revision; batches come in order of revision, none is left out. */
export interface WatchBatch {
  readonly revision: number;
  readonly changes: readonly (
    { readonly kind: 'put'; readonly entry: Entry } | { readonly kind: 'delete'; readonly key: string }
  )[];
}

export interface Range {
  readonly entries: readonly Entry[];
  /** The store's revision at which the entries were read together. */
  readonly revision: number;
}

/** Longest key and value any adapter must accept; etcd's default request limit is 1.5 MiB. */
export const maxKeyBytes = 512;
export const maxValueBytes = 1024 * 1024;
/** Operations in one transaction at the most, and compares: etcd's default. */
export const maxOperations = 128;
/** Keys and values of one transaction together; with its framing it stays below etcd's 1.5 MiB for a request. */
export const maxTransactionBytes = 1280 * 1024;

export interface Store {
  /** All entries whose key starts with `prefix`, sorted by the bytes of their key in UTF-8, at one revision. */
  range(prefix: string): Promise<Range>;
  /**
   * Commits each transaction by itself, in order; a conflict in one does not touch the others. Those that have no
   * written key in common with what the others write or compare may share a revision. Resolves when all are durable.
   * @throws FrotaError `invalid` beyond the limits above (nothing is written), `unavailable` when the store does not
   * answer (what was sent may or may not be written), `exhausted` when it is full.
   */
  commit(transactions: readonly Transaction[]): Promise<readonly TransactionResult[]>;
  /**
   * Changes below `prefix` after `fromRevision`, then live, until `signal` aborts (the iteration then ends).
   * A revision that is yet to come is waited for.
   * @throws FrotaError `conflict` when `fromRevision` has been compacted, or the reader was so slow that what it had not
   * read yet was: read the range again and watch from there. `unavailable` when the store is closed or lost meanwhile.
   */
  watch(prefix: string, fromRevision: number, signal: AbortSignal): AsyncIterable<WatchBatch>;
  /** Forgets what is older than `revision`, which stays watchable. @throws FrotaError `invalid` for one yet to come. */
  compact(revision: number): Promise<void>;
  close(): Promise<void>;
}
