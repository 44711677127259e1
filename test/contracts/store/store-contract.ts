/** What every store adapter must do; see `controller/store/store.ts`. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { maxKeyBytes, maxOperations, maxTransactionBytes, maxValueBytes } from '../../../controller/store/store.ts';
import type { Operation, Store, Transaction, WatchBatch } from '../../../controller/store/store.ts';
import { NaiveStore } from './naive-store.ts';

export interface StoreHarness {
  readonly name: string;
  /** An empty store. Its revision need not be 0: another's history may lie before. */
  readonly create: () => Promise<Store>;
  /** Removes what `create` left. */
  readonly cleanUp: () => Promise<void>;
  /** Model test rounds; fewer where a commit costs a disk write. */
  readonly rounds: number;
}

const text = new TextEncoder();
export const put = (key: string, value: string): Operation => ({ kind: 'put', key, value: text.encode(value) });
export const remove = (key: string): Operation => ({ kind: 'delete', key });
export const only = (...operations: Operation[]): Transaction => ({ compares: [], operations });
export const valueText = (value: Uint8Array): string => new TextDecoder().decode(value);

/** Reads batches until `done` says that the last one has come. */
export async function collect(
  store: Store,
  prefix: string,
  from: number,
  done: (batch: WatchBatch) => boolean,
): Promise<WatchBatch[]> {
  const abort = new AbortController();
  const batches: WatchBatch[] = [];
  for await (const batch of store.watch(prefix, from, abort.signal)) {
    batches.push(batch);
    if (done(batch)) abort.abort();
  }
  return batches;
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'nothing thrown',
    (error: unknown) => (error as { code: string }).code,
  );

const drain = async (batches: AsyncIterable<WatchBatch>): Promise<void> => {
  for await (const batch of batches) expect(batch.changes).toBeDefined();
};

export function describeStore(harness: StoreHarness): void {
  describe(`store contract: ${harness.name}`, () => {
    let store: Store;
    /** The revision of the empty store. */
    let start = 0;
    beforeEach(async () => {
      store = await harness.create();
      start = (await store.range('')).revision;
    });
    afterEach(async () => {
      await store.close();
      await harness.cleanUp();
    });

    it('keeps values with the revision that wrote them, sorted by the bytes of the key', async () => {
      const [first, second] = await store.commit([
        only(put('b', '1'), put('a', '2'), put('\u{1F600}', '4'), put('\uFFFD', '3')),
        only(put('b', '5')),
      ]);
      expect(first).toEqual({ kind: 'committed', revision: start + 1 });
      expect(second).toEqual({ kind: 'committed', revision: start + 2 });
      const { entries, revision } = await store.range('');
      expect(revision).toBe(start + 2);
      expect(entries.map(({ key, value, modRevision }) => [key, valueText(value), modRevision])).toEqual([
        ['a', '2', start + 1],
        ['b', '5', start + 2],
        ['\uFFFD', '3', start + 1],
        ['\u{1F600}', '4', start + 1],
      ]);
    });

    it('reads a prefix only', async () => {
      await store.commit([only(put('a/1', ''), put('a/2', ''), put('a0', ''), put('a', ''), put('b/1', ''))]);
      expect((await store.range('a/')).entries.map(({ key }) => key)).toEqual(['a/1', 'a/2']);
      expect((await store.range('nothing')).entries).toEqual([]);
    });

    it('drops a transaction whose compare fails, names the keys, and leaves the others alone', async () => {
      await store.commit([only(put('a', '1'), put('b', '1'))]);
      const results = await store.commit([
        {
          compares: [
            { key: 'a', modRevision: start + 1 },
            { key: 'b', modRevision: start + 9 },
            { key: 'new', modRevision: start + 3 },
          ],
          operations: [put('a', 'x')],
        },
        {
          compares: [
            { key: 'a', modRevision: start + 1 },
            { key: 'new', modRevision: 0 },
          ],
          operations: [put('new', 'y')],
        },
        { compares: [{ key: 'new', modRevision: 0 }], operations: [put('new', 'z')] },
      ]);
      expect(results).toEqual([
        { kind: 'conflict', keys: ['b', 'new'] },
        { kind: 'committed', revision: start + 2 },
        { kind: 'conflict', keys: ['new'] },
      ]);
      expect((await store.range('')).entries.map(({ value }) => valueText(value))).toEqual(['1', '1', 'y']);
    });

    it('does not raise the revision for what changes nothing', async () => {
      await store.commit([only(put('a', '1'))]);
      const results = await store.commit([
        only(remove('none')),
        { compares: [{ key: 'a', modRevision: start + 1 }], operations: [] },
      ]);
      expect(results).toEqual([
        { kind: 'committed', revision: start + 1 },
        { kind: 'committed', revision: start + 1 },
      ]);
      expect(await store.commit([])).toEqual([]);
      expect((await store.range('')).revision).toBe(start + 1);
    });

    it('lets one of many racing writers win', async () => {
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          store.commit([{ compares: [{ key: 'k', modRevision: 0 }], operations: [put('k', String(n))] }]),
        ),
      );
      expect(results.flat().filter(({ kind }) => kind === 'committed')).toHaveLength(1);
    });

    it('does not keep hold of the caller’s buffers', async () => {
      const value = text.encode('before');
      const done = store.commit([{ compares: [], operations: [{ kind: 'put', key: 'a', value }] }]);
      value.fill(0);
      await done;
      expect(valueText((await store.range('a')).entries[0]?.value ?? new Uint8Array())).toBe('before');
    });

    it('accepts the largest key and value, and refuses more as a whole', async () => {
      const key = 'k'.repeat(maxKeyBytes);
      const value = new Uint8Array(maxValueBytes).fill(7);
      await store.commit([only({ kind: 'put', key, value })]);
      const [entry] = (await store.range('k')).entries;
      expect(entry?.key).toBe(key);
      expect(Buffer.from(entry?.value ?? []).equals(value)).toBe(true);
      const fine = only(put('fine', '1'));
      const many = (count: number): Operation[] => Array.from({ length: count }, (_, n) => put(`m${String(n)}`, ''));
      const refused: Transaction[] = [
        only(put(`${key}k`, '')),
        only(put('é'.repeat(maxKeyBytes / 2 + 1), '')),
        only(put('', '')),
        only(put('\uD800', '')),
        only({ kind: 'put', key: 'v', value: new Uint8Array(maxValueBytes + 1) }),
        only(...many(maxOperations + 1)),
        only(put('twice', '1'), remove('twice')),
        {
          compares: Array.from({ length: maxOperations + 1 }, (_, n) => ({ key: `c${String(n)}`, modRevision: 0 })),
          operations: [],
        },
        { compares: [{ key: 'c', modRevision: -1 }], operations: [] },
        only(
          { kind: 'put', key: 'x', value },
          { kind: 'put', key: 'y', value: new Uint8Array(maxTransactionBytes - maxValueBytes) },
        ),
      ];
      for (const transaction of refused) expect(await codeOf(store.commit([fine, transaction]))).toBe('invalid');
      expect((await store.range('')).revision).toBe(start + 1);
      expect(await store.commit([only(...many(maxOperations))])).toEqual([{ kind: 'committed', revision: start + 2 }]);
    });

    it('shows a watch all changes of its prefix, past and live, in order, each once', async () => {
      for (const transaction of [
        only(put('a/1', '1')),
        only(put('b', '1')),
        only(put('a/2', '1'), put('b', '2'), remove('a/1')),
      ]) {
        await store.commit([transaction]);
      }
      const watching = collect(store, 'a/', start, ({ revision }) => revision === start + 5);
      await store.commit([only(put('b', '3'))]);
      await store.commit([only(put('a/3', '1'))]);
      const batches = await watching;
      expect(batches.map(({ revision }) => revision - start)).toEqual([1, 3, 5]);
      expect(batches[1]?.changes).toEqual([
        { kind: 'put', entry: { key: 'a/2', value: text.encode('1'), modRevision: start + 3 } },
        { kind: 'delete', key: 'a/1' },
      ]);
    });

    it('joins a range and a watch from its revision without gap under concurrent writers', async () => {
      const writers = Promise.all(
        Array.from({ length: 4 }, async (_, writer) => {
          for (let n = 0; n < 25; n += 1)
            await store.commit([only(put(`w/${String(writer)}/${String(n)}`, String(n)))]);
        }),
      );
      const { entries, revision } = await store.range('w/');
      const keys = entries.map(({ key }) => key);
      let missing = 100 - keys.length;
      const batches = await collect(store, 'w/', revision, ({ changes }) => (missing -= changes.length) <= 0);
      await writers;
      const revisions = batches.map((batch) => batch.revision);
      expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => a - b));
      expect(revisions[0] ?? Infinity).toBeGreaterThan(revision);
      for (const { changes } of batches)
        for (const change of changes) if (change.kind === 'put') keys.push(change.entry.key);
      expect(keys).toHaveLength(100);
      expect(new Set(keys).size).toBe(100);
    });

    it('ends a watch when its signal aborts, also one that waits', async () => {
      const abort = new AbortController();
      const watching = drain(store.watch('', start, abort.signal));
      await new Promise((resolve) => setTimeout(resolve, 10));
      abort.abort();
      await watching;
      await drain(store.watch('', start, abort.signal));
    });

    it('waits for a revision yet to come', async () => {
      const watching = collect(store, '', start + 2, () => true);
      await store.commit([only(put('a', '1')), only(put('a', '2')), only(put('a', '3'))]);
      expect((await watching).map(({ revision }) => revision)).toEqual([start + 3]);
    });

    it('forgets what is compacted, and what is at the revision stays watchable', async () => {
      for (let n = 0; n < 6; n += 1) await store.commit([only(put('a', String(n)))]);
      await store.compact(start + 4);
      await store.compact(start + 2);
      const forever = new AbortController().signal;
      expect(await codeOf(drain(store.watch('', start + 2, forever)))).toBe('conflict');
      const kept = await collect(store, '', start + 4, (batch) => batch.revision === start + 6);
      expect(kept.map(({ revision }) => revision - start)).toEqual([5, 6]);
      expect(await codeOf(store.compact(start + 7))).toBe('invalid');
      expect(await codeOf(drain(store.watch('', -1, forever)))).toBe('invalid');
      expect((await store.range('')).entries).toHaveLength(1);
    });

    it('refuses work once closed and tells those who watch', async () => {
      const watching = codeOf(drain(store.watch('', start, new AbortController().signal)));
      await new Promise((resolve) => setTimeout(resolve, 10));
      await store.close();
      expect(await watching).toBe('unavailable');
      expect(await codeOf(store.range(''))).toBe('unavailable');
      expect(await codeOf(store.commit([only(put('a', '1'))]))).toBe('unavailable');
      await store.close();
    });

    it('agrees with a naive model, in content, results and watched changes', { timeout: 60_000 }, async () => {
      const key = fc.constantFrom('a', 'b', 'a/1', 'a/2', 'é', '\u0000', 'zz');
      const operations = fc.uniqueArray(
        fc.oneof(
          fc.record({ kind: fc.constant('put' as const), key, value: fc.uint8Array({ maxLength: 4 }) }),
          fc.record({ kind: fc.constant('delete' as const), key }),
        ),
        { maxLength: 4, selector: (operation) => operation.key },
      );
      const compares = fc.array(fc.record({ key, modRevision: fc.nat(6) }), { maxLength: 1 });
      const transaction = fc.record({ compares, operations });
      const calls = fc.array(fc.array(transaction, { maxLength: 4 }), { maxLength: 8 });
      await fc.assert(
        fc.asyncProperty(calls, async (generated) => {
          const subject = await harness.create();
          try {
            const model = new NaiveStore((await subject.range('')).revision);
            const sequence = generated.map((transactions) =>
              transactions.map((each) => ({ ...each, compares: each.compares.map(model.since) })),
            );
            const results = await Promise.all(sequence.map((transactions) => subject.commit(transactions)));
            const expected = sequence.map((transactions, call) =>
              transactions.map((each, index) => model.commit(each, results[call]?.[index])),
            );
            expect(results).toEqual(expected);
            const range = await subject.range('');
            expect(range.revision).toBe(model.revision);
            expect(new Map(range.entries.map((entry) => [entry.key, entry]))).toEqual(model.entries);
            const last = model.history.at(-1)?.revision;
            if (last !== undefined) {
              const seen = await collect(subject, '', model.start, ({ revision }) => revision === last);
              expect(seen).toEqual(model.history);
            }
          } finally {
            await subject.close();
          }
        }),
        { numRuns: harness.rounds },
      );
    });
  });
}
