/** Bytes of configs and secrets in the store, sealed where they are secret. The snapshot knows of them without their bytes. */
import { FrotaError } from '../../proto/base/errors.ts';
import { decodeContentRecord, encodeContentRecord } from '../../proto/codec/records.ts';
import type { Content, ContentKind, FetchedContent } from '../../proto/domain/content.ts';
import { contentKey } from './keys.ts';
import type { Operation, Store, Transaction } from './store.ts';

/** How secrets are sealed; `controller/security` knows. */
export interface Seal {
  seal(plain: Uint8Array, context: string): Uint8Array;
  open(sealed: Uint8Array, context: string): Uint8Array;
}

/** One transaction for each: together they would be larger than one may be. Those that are there are written anew. */
export function contentTransactions(
  contents: ReadonlyMap<string, Content>,
  seal: Seal,
  nowMs: number,
): readonly Transaction[] {
  return [...contents].map(([id, { kind, bytes }]) => {
    const value = kind === 'secret' ? seal.seal(bytes, contextOf(kind, id)) : bytes;
    const record = encodeContentRecord({ id, kind, writtenAtMs: nowMs, value });
    const operation: Operation = { kind: 'put', key: contentKey(id), value: record };
    return { compares: [], operations: [operation] };
  });
}

/** @throws FrotaError `not-found` when it is not stored (any more), `corrupt` when it can't be opened. */
export async function readContent(store: Store, seal: Seal, id: string): Promise<FetchedContent> {
  const key = contentKey(id);
  const entry = (await store.range(key)).entries.find((found) => found.key === key);
  if (entry === undefined) {
    throw new FrotaError('not-found', `the content ${id} is not in the store any more; apply the stack again`);
  }
  const { kind, value } = decodeContentRecord(entry.value);
  return { id, bytes: kind === 'secret' ? seal.open(value, contextOf(kind, id)) : value };
}

const contextOf = (kind: ContentKind, id: string): string => `${kind} ${id}`;
