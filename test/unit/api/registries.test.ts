import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loginRegistry, logoutRegistry } from '../../../controller/api/registries.ts';
import type { RegistryPorts } from '../../../controller/api/registries.ts';
import { credentialFor } from '../../../controller/dispatch/registries.ts';
import { createSealer } from '../../../controller/security/sealing.ts';
import { openEmbeddedStore } from '../../../controller/store/embedded/embedded-store.ts';
import { listRegistries, loginTransaction, logoutTransaction, readRegistry } from '../../../controller/store/registries.ts'; // prettier-ignore
import { hasSealedRecords } from '../../../controller/store/sealed-records.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { RegistryCredential } from '../../../proto/domain/registry.ts';
import { aNode, aSnapshot, aStatus, aTask, aTemplate } from '../../builders/domain.ts';

const signal = new AbortController().signal;
const login = { host: 'r.test:5000', username: 'ana', password: 'pear tree', check: true };
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => FrotaError.from(error).code,
  );

function cluster(refusal?: FrotaError) {
  const kept = new Map<string, RegistryCredential>();
  const checked: string[] = [];
  const ports: RegistryPorts = {
    checkRegistry: ({ host }) => {
      checked.push(host);
      return refusal === undefined ? Promise.resolve() : Promise.reject(refusal);
    },
    putRegistry: (credential) => Promise.resolve(void kept.set(credential.host, credential)),
    deleteRegistry: (host) => Promise.resolve(kept.delete(host)),
    listRegistries: () => Promise.resolve([...kept.values()]),
  };
  return { ports, kept, checked };
}

describe('registry logins', () => {
  it('are checked, then kept under the name that images have', async () => {
    const { ports, kept, checked } = cluster();
    expect(await loginRegistry(ports, { ...login, host: 'https://index.docker.io/v1/' }, signal)).toEqual({
      host: 'docker.io',
    });
    expect([...kept.keys(), ...checked]).toEqual(['docker.io', 'docker.io']);
    await loginRegistry(ports, { ...login, check: false }, signal);
    expect(checked).toEqual(['docker.io']);
    expect(await logoutRegistry(ports, { host: 'registry-1.docker.io' })).toEqual({ host: 'docker.io' });
    await expect(logoutRegistry(ports, { host: 'docker.io' })).rejects.toThrow(/no login.*there are: r.test:5000/);
  });

  it('that the registry does not take are not kept', async () => {
    const { ports, kept } = cluster(new FrotaError('unauthenticated', 'no'));
    expect(await codeOf(loginRegistry(ports, login, signal))).toBe('unauthenticated');
    expect(kept.size).toBe(0);
  });

  it('that no header could carry are refused', async () => {
    const { ports } = cluster();
    for (const wrong of [
      { username: 'a:b' },
      { username: '' },
      { password: '' },
      { password: 'a\nb' },
      { host: 'r/x' },
    ])
      expect(await codeOf(loginRegistry(ports, { ...login, ...wrong }, signal)), JSON.stringify(wrong)).toBe('invalid');
  });

  it('are nowhere readable in the store, and are opened with the right key only', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ft-registries-'));
    const sealer = createSealer(new Uint8Array(32).fill(1));
    try {
      const store = openEmbeddedStore(join(folder, 'store'));
      await store.commit([loginTransaction(login, sealer, 5)]);
      expect(await listRegistries(store)).toEqual([{ host: 'r.test:5000', username: 'ana' }]);
      const { host, username, password } = login;
      expect(await readRegistry(store, sealer, host)).toEqual({ host, username, password });
      expect(await readRegistry(store, sealer, 'r.test')).toBeUndefined();
      expect(await hasSealedRecords(store)).toBe(true);
      const other = createSealer(new Uint8Array(32).fill(2));
      expect(await codeOf(readRegistry(store, other, host))).toBe('corrupt');
      await store.close();
      const disk = await readFile(join(folder, 'store', 'store.lmdb'));
      expect(disk.includes('r.test:5000')).toBe(true);
      expect(disk.includes(password)).toBe(false);
      const again = openEmbeddedStore(join(folder, 'store'));
      await again.commit([logoutTransaction(host)]);
      expect(await listRegistries(again)).toEqual([]);
      await again.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('a node', () => {
  const of = (reference: string) => aTemplate({ image: { reference, digest: `sha256:${'a'.repeat(64)}` } });
  const snapshot = aSnapshot({
    nodes: [aNode('n1'), aNode('n2')],
    tasks: [
      aTask({ id: 'mine', nodeId: 'id-n1', template: of('r.test:5000/app:1') }),
      aTask({ id: 'theirs', slot: 2, nodeId: 'id-n2', template: of('other.test/app:1') }),
      aTask({ id: 'ended', slot: 3, nodeId: 'id-n1', template: of('old.test/app:1') }),
    ],
    statuses: [aStatus('ended', 'failed')],
  });
  const ask = (registry: string, nodeId = 'id-n1') => {
    const readRegistry = (host: string) => Promise.resolve(host === 'r.test:5000' ? { ...login, host } : undefined);
    const spareImages = () => new Map([['id-n3', [of('r.test:5000/app:1').image]]]);
    return credentialFor({ snapshot: () => snapshot, spareImages, readRegistry }, nodeId, registry);
  };

  it('gets what it pulls with now, and nothing of other registries', async () => {
    expect(await ask('r.test:5000')).toEqual({ credential: { username: 'ana', password: 'pear tree' } });
    expect(await ask('other.test', 'id-n2')).toEqual({});
    for (const registry of ['other.test', 'old.test', 'r.test', 'unheard.of']) expect(await codeOf(ask(registry))).toBe('forbidden'); // prettier-ignore
    expect(await codeOf(ask('r.test:5000', 'id-n2'))).toBe('forbidden');
  });

  it('gets what it pulls ahead of need with', async () => {
    expect(await ask('r.test:5000', 'id-n3')).toMatchObject({ credential: { username: 'ana' } });
    expect(await codeOf(ask('other.test', 'id-n3'))).toBe('forbidden');
  });
});
