/**
 * The store's meaning in the fewest lines, to compare adapters with. Which revision a transaction gets is the adapter's
 * choice within the port's rules, so the model is told it, refuses one that breaks them, and goes on from there.
 */
import type { Compare, Entry, Transaction, TransactionResult, WatchBatch } from '../../../controller/store/store.ts';

type Change = WatchBatch['changes'][number];

export class NaiveStore {
  revision: number;
  readonly entries = new Map<string, Entry>();
  readonly history: { readonly revision: number; readonly changes: Change[] }[] = [];
  /** What the transactions of the last revision wrote and compared. */
  #written = new Set<string>();
  #compared = new Set<string>();

  /** @param start the revision of the empty store */
  constructor(readonly start: number) {
    this.revision = start;
  }

  /** A compare with a small number, as one with the revision so long after the start. */
  readonly since = ({ key, modRevision }: Compare): Compare => ({
    key,
    modRevision: modRevision === 0 ? 0 : this.start + modRevision,
  });

  /** @returns what must be answered, given what was. */
  commit(transaction: Transaction, answered: TransactionResult | undefined): TransactionResult {
    const modRevision = (key: string): number => this.entries.get(key)?.modRevision ?? 0;
    const wrong = transaction.compares.filter((compare) => modRevision(compare.key) !== compare.modRevision);
    if (wrong.length > 0) return { kind: 'conflict', keys: wrong.map(({ key }) => key) };
    const operations = transaction.operations.filter(({ kind, key }) => kind === 'put' || modRevision(key) !== 0);
    if (operations.length === 0) return this.#unchanged(transaction, answered);
    this.#advance(transaction, answered);
    for (const operation of operations) {
      const { key } = operation;
      if (operation.kind === 'put') {
        const entry = { key, value: operation.value, modRevision: this.revision };
        this.entries.set(key, entry);
        this.history.at(-1)?.changes.push({ kind: 'put', entry });
      } else {
        this.entries.delete(key);
        this.history.at(-1)?.changes.push({ kind: 'delete', key });
      }
    }
    return { kind: 'committed', revision: this.revision };
  }

  /** It may be told as of any revision after which nothing has changed that it looked at. */
  #unchanged(transaction: Transaction, answered: TransactionResult | undefined): TransactionResult {
    const looked = new Set([...transaction.compares, ...transaction.operations].map(({ key }) => key));
    const keyOf = (change: Change): string => (change.kind === 'put' ? change.entry.key : change.key);
    const touched = this.history.filter(({ changes }) => changes.some((change) => looked.has(keyOf(change))));
    const oldest = touched.at(-1)?.revision ?? 0;
    const fine =
      answered?.kind === 'committed' && answered.revision >= oldest && answered.revision <= this.revision + 1;
    for (const key of looked) this.#compared.add(key);
    return fine ? answered : { kind: 'committed', revision: this.revision };
  }

  /** To the next revision, or none if the answer shares the last one and has nothing to do with what is in it. */
  #advance(transaction: Transaction, answered: TransactionResult | undefined): void {
    const writes = transaction.operations.map(({ key }) => key);
    const compares = transaction.compares.map(({ key }) => key);
    const shares = answered?.kind === 'committed' && answered.revision === this.revision && this.history.length > 0;
    const related =
      writes.some((key) => this.#written.has(key) || this.#compared.has(key)) ||
      compares.some((key) => this.#written.has(key));
    if (!shares || related) {
      this.revision += 1;
      this.history.push({ revision: this.revision, changes: [] });
      this.#written = new Set();
      this.#compared = new Set();
    }
    for (const key of writes) this.#written.add(key);
    for (const key of compares) this.#compared.add(key);
  }
}
