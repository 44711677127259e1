/** What the cluster may pull with: one record a registry, the password sealed. Nothing of it is in the snapshot. */
import { decodeRegistryRecord, encodeRegistryRecord } from '../../proto/codec/records.ts';
import type { RegistryCredential, RegistryView } from '../../proto/domain/registry.ts';
import type { Seal } from './contents.ts';
import { registryKey, registryPrefix } from './keys.ts';
import type { Store, Transaction } from './store.ts';

const encoder = new TextEncoder();
const contextOf = (host: string): string => `password of registry ${host}`;

/** Puts the credential in the place of an earlier one. */
export function loginTransaction(
  { host, username, password }: RegistryCredential,
  seal: Seal,
  nowMs: number,
): Transaction {
  const sealedPassword = seal.seal(encoder.encode(password), contextOf(host));
  const value = encodeRegistryRecord({ host, username, sealedPassword, writtenAtMs: nowMs });
  return { compares: [], operations: [{ kind: 'put', key: registryKey(host), value }] };
}

export function logoutTransaction(host: string): Transaction {
  return { compares: [], operations: [{ kind: 'delete', key: registryKey(host) }] };
}

/** Undefined when there is none. @throws FrotaError `corrupt` when it can't be opened. */
export async function readRegistry(store: Store, seal: Seal, host: string): Promise<RegistryCredential | undefined> {
  const key = registryKey(host);
  const entry = (await store.range(key)).entries.find((found) => found.key === key);
  if (entry === undefined) return undefined;
  const { username, sealedPassword } = decodeRegistryRecord(entry.value);
  return { host, username, password: new TextDecoder().decode(seal.open(sealedPassword, contextOf(host))) };
}

/** By host. */
export async function listRegistries(store: Store): Promise<readonly RegistryView[]> {
  const { entries } = await store.range(registryPrefix);
  return entries.map(({ value }) => {
    const { host, username } = decodeRegistryRecord(value);
    return { host, username };
  });
}
