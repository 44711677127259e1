/** What every adapter refuses before it writes anything, so that they all refuse the same. */
import { FrotaError } from '../../proto/base/errors.ts';
import { maxKeyBytes, maxOperations, maxTransactionBytes, maxValueBytes } from './store.ts';
import type { Transaction } from './store.ts';

const encoder = new TextEncoder();

/** @throws FrotaError `invalid`, naming the first transaction and key that break a limit. */
export function checkTransactions(transactions: readonly Transaction[]): void {
  for (const transaction of transactions) checkTransaction(transaction);
}

/** @throws FrotaError `invalid` unless it is a revision: a whole number, 0 or more. */
export function checkRevision(revision: number): void {
  if (!Number.isSafeInteger(revision) || revision < 0) {
    throw new FrotaError('invalid', `${String(revision)} is no revision: a whole number from 0 on is needed`);
  }
}

function checkTransaction({ compares, operations }: Transaction): void {
  for (const [what, { length }] of [
    ['compares', compares],
    ['operations', operations],
  ] as const) {
    if (length <= maxOperations) continue;
    throw new FrotaError(
      'invalid',
      `a transaction has ${String(length)} ${what}, at most ${String(maxOperations)} are allowed: split it`,
    );
  }
  for (const { key, modRevision } of compares) {
    checkKey(key);
    checkRevision(modRevision);
  }
  const written = new Set<string>();
  let bytes = 0;
  for (const operation of operations) {
    bytes += checkKey(operation.key);
    if (written.has(operation.key)) {
      throw new FrotaError('invalid', `key ${JSON.stringify(operation.key)} is written twice in one transaction`);
    }
    written.add(operation.key);
    if (operation.kind === 'put') bytes += checkValue(operation.key, operation.value);
  }
  if (bytes > maxTransactionBytes) {
    throw new FrotaError(
      'invalid',
      `a transaction writes ${String(bytes)} bytes, at most ${String(maxTransactionBytes)} are allowed: split it`,
    );
  }
}

/** @returns the key's length in bytes. A lone surrogate has no UTF-8 form, so that two such keys would become one. */
function checkKey(key: string): number {
  const bytes = encoder.encode(key).length;
  if (bytes > 0 && bytes <= maxKeyBytes && !/\p{Surrogate}/u.test(key)) return bytes;
  throw new FrotaError(
    'invalid',
    `key ${JSON.stringify(key.slice(0, 64))} has ${String(bytes)} bytes: 1 to ${String(maxKeyBytes)} bytes of Unicode text are allowed`,
  );
}

function checkValue(key: string, value: Uint8Array): number {
  if (value.length <= maxValueBytes) return value.length;
  throw new FrotaError(
    'invalid',
    `the value of key ${JSON.stringify(key)} has ${String(value.length)} bytes, at most ${String(maxValueBytes)} are allowed`,
  );
}
