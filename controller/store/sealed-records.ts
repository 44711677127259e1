/**
 * Which key the store's sealed records were written with. Asked at the start, before this controller leads: with another
 * key it must not decide anything.
 */
import { timingSafeEqual } from 'node:crypto';
import { FrotaError } from '../../proto/base/errors.ts';
import { registryPrefix, sealedContentPrefix, sealingKey } from './keys.ts';
import type { Store } from './store.ts';

/** Whether anything is stored that only the key in use can open. */
export async function hasSealedRecords(store: Store): Promise<boolean> {
  for (const prefix of [sealedContentPrefix, registryPrefix]) {
    if ((await store.range(prefix)).entries.length > 0) return true;
  }
  return false;
}

/**
 * Compares the key's fingerprint with the stored one; where nothing is sealed yet the key at hand becomes the store's.
 * `path`: where the key was read. @throws FrotaError `corrupt` when sealed records were written with another key.
 */
export async function adoptSealingKey(store: Store, fingerprint: Uint8Array, path: string): Promise<void> {
  const entry = (await store.range(sealingKey)).entries.find(({ key }) => key === sealingKey);
  if (entry !== undefined && isEqual(entry.value, fingerprint)) return;
  if (await hasSealedRecords(store)) {
    throw new FrotaError(
      'corrupt',
      `${path} is not the key that the store's secrets and registry passwords are sealed with: put back the right one, or name its place with --key-file`,
    );
  }
  const compares = [{ key: sealingKey, modRevision: entry?.modRevision ?? 0 }];
  const [result] = await store.commit([
    { compares, operations: [{ kind: 'put', key: sealingKey, value: fingerprint }] },
  ]);
  if (result?.kind !== 'committed')
    throw new FrotaError('conflict', 'another controller starts on this store; stop one');
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);
