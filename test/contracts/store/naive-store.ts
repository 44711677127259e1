/** The store's meaning in the fewest lines, to compare adapters with. */
import type { Entry, Transaction, TransactionResult, WatchBatch } from '../../../controller/store/store.ts';

export class NaiveStore {
  revision = 0;
  readonly entries = new Map<string, Entry>();
  readonly history: WatchBatch[] = [];

  commit(transaction: Transaction): TransactionResult {
    const wrong = transaction.compares.filter(
      ({ key, modRevision }) => (this.entries.get(key)?.modRevision ?? 0) !== modRevision,
    );
    if (wrong.length > 0) return { kind: 'conflict', keys: wrong.map(({ key }) => key) };
    const changes: WatchBatch['changes'][number][] = [];
    for (const operation of transaction.operations) {
      if (operation.kind === 'put') {
        const entry = { key: operation.key, value: operation.value, modRevision: this.revision + 1 };
        this.entries.set(operation.key, entry);
        changes.push({ kind: 'put', entry });
      } else if (this.entries.delete(operation.key)) {
        changes.push({ kind: 'delete', key: operation.key });
      }
    }
    if (changes.length > 0) {
      this.revision += 1;
      this.history.push({ revision: this.revision, changes });
    }
    return { kind: 'committed', revision: this.revision };
  }
}
