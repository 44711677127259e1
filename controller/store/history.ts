/** The accepted versions of stacks: each is written in the transaction that accepts it, and goes when it is too old, or with its stack. */
import { decodeRevision, encodeRevision, encodeStack } from '../../proto/codec/records.ts';
import { revisionsKept } from '../../proto/domain/revision.ts';
import type { Revision } from '../../proto/domain/revision.ts';
import { historyKey, historyPrefixOf, stackKey } from './keys.ts';
import type { Operation, Store } from './store.ts';

/** Versions follow each other, so that the one that has become too old is known without looking. */
export function acceptance(revision: Revision): readonly Operation[] {
  const { version, spec } = revision.stack;
  const operations: Operation[] = [
    { kind: 'put', key: stackKey(spec.name), value: encodeStack(revision.stack) },
    { kind: 'put', key: historyKey(spec.name, version), value: encodeRevision(revision) },
  ];
  if (version > revisionsKept) operations.push({ kind: 'delete', key: historyKey(spec.name, version - revisionsKept) });
  return operations;
}

/** `latest`: the stack's version. */
export function removal(name: string, latest: number): readonly Operation[] {
  const kept = Array.from({ length: Math.min(latest, revisionsKept) }, (_, index) => latest - index);
  const keys = [stackKey(name), ...kept.map((version) => historyKey(name, version))];
  return keys.map((key) => ({ kind: 'delete', key }));
}

/** Oldest first. @throws FrotaError as `Store.range`; `corrupt` for one that can't be read. */
export async function readHistory(store: Store, stack: string): Promise<readonly Revision[]> {
  const { entries } = await store.range(historyPrefixOf(stack));
  return entries.map(({ value }) => decodeRevision(value));
}
