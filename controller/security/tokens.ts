/** Join tokens: single-use, with an end. The store keeps only a hash of the secret. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { customAlphabet } from 'nanoid';
import { FrotaError } from '../../proto/base/errors.ts';
import { decodeJoinTokenRecord, encodeJoinTokenRecord } from '../../proto/codec/records.ts';
import { formatJoinToken, parseJoinToken } from '../../proto/domain/cluster.ts';
import type { JoinTokenRecord } from '../../proto/domain/cluster.ts';
import type { Store, Transaction } from '../store/store.ts';

/** Long enough to walk to the other machine, short enough that a forgotten one is soon worth nothing. */
export const defaultTokenTtlMs = 60 * 60 * 1000;
/** A token is no password to keep in a script for years. */
export const maxTokenTtlMs = 7 * 24 * 60 * 60 * 1000;
const minTokenTtlMs = 1000;

const newTokenId = customAlphabet('0123456789abcdefghijklmnopqrstuvwxyz', 10);

/** As `controller/store/keys.ts` parses them. */
const tokenPrefix = 'tokens/';
const tokenKey = (id: string): string => `${tokenPrefix}${id}`;

export interface CreatedToken {
  /** To be shown once; it cannot be told again. */
  readonly token: string;
  readonly record: JoinTokenRecord;
}

/** Makes a token without storing it. @throws FrotaError `invalid` for a time to live out of range. */
export function createToken(caDigest: string, nowMs: number, ttlMs: number = defaultTokenTtlMs): CreatedToken {
  if (!(ttlMs >= minTokenTtlMs && ttlMs <= maxTokenTtlMs)) {
    throw new FrotaError('invalid', `a join token lasts from 1 second to 7 days, not ${String(ttlMs / 1000)} s`);
  }
  const id = newTokenId();
  const secret = randomBytes(16).toString('hex');
  const record = { id, secretHash: hashSecret(secret), expiresAtMs: nowMs + ttlMs };
  return { token: formatJoinToken({ id, secret, caDigest }), record };
}

/** Makes a token and stores its record. */
export async function issueToken(store: Store, caDigest: string, nowMs: number, ttlMs?: number): Promise<CreatedToken> {
  const created = createToken(caDigest, nowMs, ttlMs);
  const key = tokenKey(created.record.id);
  const [result] = await store.commit([
    {
      compares: [{ key, modRevision: 0 }],
      operations: [{ kind: 'put', key, value: encodeJoinTokenRecord(created.record) }],
    },
  ]);
  if (result?.kind !== 'committed') throw new FrotaError('conflict', 'the join token could not be stored; try again');
  return created;
}

/**
 * What using up the token takes, to be part of the transaction that admits the machine: of two that use one token at
 * once only one commits. @throws FrotaError `invalid` for what is no token, `unauthenticated` for one that is unknown,
 * used, expired or wrong.
 */
export async function redemption(store: Store, token: string, nowMs: number): Promise<Transaction> {
  const { id, secret } = parseJoinToken(token);
  const key = tokenKey(id);
  const { entries } = await store.range(key);
  const entry = entries.find((found) => found.key === key);
  if (entry === undefined) throw refused('it was used already or never issued by this cluster');
  const record = decodeJoinTokenRecord(entry.value);
  const hash = hashSecret(secret);
  // The secret first: only who knows it may learn that the token has expired.
  if (record.secretHash.length !== hash.length || !timingSafeEqual(record.secretHash, hash)) {
    throw refused('its secret is wrong');
  }
  if (nowMs >= record.expiresAtMs) throw refused(`it expired at ${new Date(record.expiresAtMs).toISOString()}`);
  return { compares: [{ key, modRevision: entry.modRevision }], operations: [{ kind: 'delete', key }] };
}

/** Uses up the token by itself. @throws as `redemption` does. */
export async function consumeToken(store: Store, token: string, nowMs: number): Promise<void> {
  const [result] = await store.commit([await redemption(store, token, nowMs)]);
  if (result?.kind !== 'committed') throw refused('it was used already or never issued by this cluster');
}

/** Deletes tokens that are past their end, so that unused ones do not stay for ever. */
export async function deleteExpiredTokens(store: Store, nowMs: number): Promise<void> {
  const { entries } = await store.range(tokenPrefix);
  const expired = entries.filter(({ value }) => nowMs >= decodeJoinTokenRecord(value).expiresAtMs);
  await store.commit(
    expired.map(({ key, modRevision }) => ({
      compares: [{ key, modRevision }],
      operations: [{ kind: 'delete', key }],
    })),
  );
}

const hashSecret = (secret: string): Uint8Array => Uint8Array.from(createHash('sha256').update(secret).digest());

const refused = (why: string): FrotaError =>
  new FrotaError('unauthenticated', `the join token is refused: ${why}; "frota cluster token" prints a new one`);
