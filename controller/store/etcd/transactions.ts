/**
 * Several of the port's transactions in one request to etcd, each nested with compares of its own: one round trip and
 * one disk write for all. etcd evaluates the compares of all before it writes for any, and refuses a key that is
 * written twice, so only transactions that have nothing to do with each other go together.
 */
import type { ICompare, IRequestOp, ITxnRequest, ITxnResponse } from 'etcd3';
import { assert } from '../../../proto/base/assert.ts';
import { maxTransactionBytes } from '../store.ts';
import type { Operation, Transaction, TransactionResult } from '../store.ts';
import type { KeySpace } from './key-space.ts';

/** What is nested may have as many compares and operations as etcd's 128 leave: 128 less the number of its siblings. */
const maxGrouped = 64;
const maxGroupedOperations = 64;
/** Of one compare or operation, beside its key and value: tags, lengths and a prefix. */
const framingBytes = 64;

export interface TransactionGroup {
  readonly transactions: readonly Transaction[];
  /** False: it must wait for the next group, as must all behind it. */
  add(transaction: Transaction): boolean;
}

export function createGroup(): TransactionGroup {
  const transactions: Transaction[] = [];
  const compared = new Set<string>();
  const written = new Set<string>();
  let bytes = 0;
  let open = true;

  const independent = ({ compares, operations }: Transaction): boolean =>
    compares.every(({ key }) => !written.has(key)) &&
    operations.every(({ key }) => !written.has(key) && !compared.has(key));

  return {
    transactions,
    add: (transaction) => {
      const { compares, operations } = transaction;
      const large = compares.length > maxGroupedOperations || operations.length > maxGroupedOperations;
      const size = requestBytes(transaction);
      const fits =
        transactions.length === 0 || (!large && bytes + size <= maxTransactionBytes && independent(transaction));
      if (!open || !fits) return false;
      transactions.push(transaction);
      bytes += size;
      for (const { key } of compares) compared.add(key);
      for (const { key } of operations) written.add(key);
      open = !large && transactions.length < maxGrouped;
      return true;
    },
  };
}

/** Compared keys are sent twice: to be compared, and to be read when that fails. Three bytes a character at the most. */
function requestBytes({ compares, operations }: Transaction): number {
  let bytes = 0;
  for (const { key } of compares) bytes += 2 * (3 * key.length + framingBytes);
  for (const operation of operations) {
    bytes += 3 * operation.key.length + framingBytes + (operation.kind === 'put' ? operation.value.length : 0);
  }
  return bytes;
}

export function toRequest(space: KeySpace, transactions: readonly Transaction[]): ITxnRequest {
  const requests = transactions.map((transaction) => toSingle(space, transaction));
  const [only, ...others] = requests;
  if (only !== undefined && others.length === 0) return only;
  return { success: requests.map((request) => ({ request_txn: request })) };
}

function toSingle(space: KeySpace, { compares, operations }: Transaction): ITxnRequest {
  return {
    compare: compares.map(({ key, modRevision }): ICompare => ({
      key: space.key(key),
      target: 'Mod',
      result: 'Equal',
      mod_revision: modRevision,
    })),
    success: operations.map((operation) => toOperation(space, operation)),
    // To tell which of the compares did not hold.
    failure: comparedKeys(compares).map((key) => ({ request_range: { key: space.key(key), keys_only: true } })),
  };
}

const toOperation = (space: KeySpace, operation: Operation): IRequestOp =>
  operation.kind === 'put'
    ? { request_put: { key: space.key(operation.key), value: Buffer.from(operation.value) } }
    : { request_delete_range: { key: space.key(operation.key) } };

const comparedKeys = (compares: Transaction['compares']): readonly string[] => [
  ...new Set(compares.map(({ key }) => key)),
];

/**
 * @param lastChange the last revision known to have changed anything below the prefix. A group that changes nothing is
 * told as of then: etcd's own revision may be another user's, which no watch of ours would ever show.
 */
export function toResults(
  transactions: readonly Transaction[],
  response: ITxnResponse,
  lastChange: number,
): { readonly results: readonly TransactionResult[]; readonly lastChange: number } {
  const nested = transactions.length === 1 ? [response] : response.responses.map(({ response_txn }) => response_txn);
  assert(nested.length === transactions.length, 'etcd answered another number of transactions than it was sent');
  const revision = nested.some(changedSomething) ? Number(response.header.revision) : lastChange;
  const results = transactions.map((transaction, index): TransactionResult => {
    const own = nested[index];
    if (own?.succeeded === true) return { kind: 'committed', revision };
    return { kind: 'conflict', keys: failedKeys(transaction.compares, own) };
  });
  return { results, lastChange: revision };
}

const changedSomething = ({ succeeded, responses }: ITxnResponse): boolean =>
  succeeded &&
  responses.some(
    // A member of a union that was not sent is null, whatever the declared type says.
    ({ response_put, response_delete_range }: Partial<ITxnResponse['responses'][number]>) =>
      (response_put ?? undefined) !== undefined || Number(response_delete_range?.deleted ?? 0) > 0,
  );

function failedKeys(compares: Transaction['compares'], response: ITxnResponse | undefined): readonly string[] {
  const keys = comparedKeys(compares);
  const stored = new Map(
    keys.map((key, index) => [key, Number(response?.responses[index]?.response_range.kvs[0]?.mod_revision ?? 0)]),
  );
  const failed = compares.filter(({ key, modRevision }) => stored.get(key) !== modRevision).map(({ key }) => key);
  return [...new Set(failed)];
}
