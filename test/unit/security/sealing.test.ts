import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createSealer } from '../../../controller/security/sealing.ts';
import { loadSecretsKey, secretsKeyFile } from '../../../controller/security/secrets-key.ts';
import type { SecretsKeySources } from '../../../controller/security/secrets-key.ts';
import { contentTransactions, readContent } from '../../../controller/store/contents.ts';
import { openEmbeddedStore } from '../../../controller/store/embedded/embedded-store.ts';
import { createMemoryStore } from '../../../controller/store/memory/memory-store.ts';
import { adoptSealingKey, hasSealedRecords } from '../../../controller/store/sealed-records.ts';
import type { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import type { LogFields } from '../../../proto/base/log.ts';
import type { Content } from '../../../proto/domain/content.ts';

const withCode = (code: string, message = ''): FrotaError =>
  expect.objectContaining({ code, message: expect.stringContaining(message) as string }) as FrotaError;
const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const password = 'correct horse battery staple';
const secret = { kind: 'secret', name: 'db', bytes: bytesOf(password) } as const;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ft-sealing-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('sealing', () => {
  const sealer = createSealer(key(1));

  test('opens what it sealed, for the same place and with the same key only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), fc.string(), (bytes, place, other) => {
        const sealed = sealer.seal(bytes, place);
        expect(sealer.open(sealed, place)).toEqual(Uint8Array.from(bytes));
        expect(createSealer(key(1)).open(sealed, place)).toEqual(Uint8Array.from(bytes));
        expect(() => createSealer(key(2)).open(sealed, place)).toThrow(withCode('corrupt', "can't be opened"));
        if (other !== place) expect(() => sealer.open(sealed, other)).toThrow(withCode('corrupt'));
      }),
      { numRuns: 50 },
    );
  });

  test('opens nothing of which a single bit was changed, or that was cut', () => {
    const sealed = sealer.seal(secret.bytes, 'x');
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = Uint8Array.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => sealer.open(changed, 'x')).toThrow(withCode('corrupt'));
      expect(() => sealer.open(sealed.subarray(0, at), 'x')).toThrow(withCode('corrupt'));
    }
  });

  test('never gives the same bytes twice', () => {
    expect(sealer.seal(secret.bytes, 'x')).not.toEqual(sealer.seal(secret.bytes, 'x'));
  });

  test('names a config by its digest, a secret by one that only the key can compute', () => {
    const digest = createHash('sha256').update(password).digest('hex');
    expect(sealer.contentId({ kind: 'config', bytes: secret.bytes })).toBe(`config-${digest}`);
    const id = sealer.contentId(secret);
    expect(id).toMatch(/^secret-[0-9a-f]{64}$/);
    expect(id).not.toContain(digest);
    expect(createSealer(key(1)).contentId(secret)).toBe(id);
    expect(createSealer(key(2)).contentId(secret)).not.toBe(id);
  });
});

describe('the key of the secrets', () => {
  const warnings: LogFields[] = [];
  const sources = (over: Partial<SecretsKeySources> = {}): SecretsKeySources => ({
    keyFile: undefined,
    credentialsFolder: undefined,
    dataFolder: folder,
    inUse: false,
    logger: { ...silentLogger, warn: (fields) => warnings.push(fields) },
    ...over,
  });

  test('is made at the first start, for its owner only, and found again', async () => {
    const first = await loadSecretsKey(sources());
    const second = await loadSecretsKey(sources({ inUse: true }));
    expect(second).toEqual(first);
    expect(first.path).toBe(join(folder, secretsKeyFile));
    expect(first.key).toHaveLength(32);
    expect((await stat(first.path)).mode & 0o777).toBe(0o600);
  });

  test('is never made anew while something is sealed with the one that is missing', async () => {
    await expect(loadSecretsKey(sources({ inUse: true }))).rejects.toThrow(withCode('not-found', join(folder, secretsKeyFile))); // prettier-ignore
    await expect(stat(join(folder, secretsKeyFile))).rejects.toThrow();
  });

  test('comes from the file that is given, else from a systemd credential, else from the data folder', async () => {
    const [given, credential] = [randomBytes(32), randomBytes(32)];
    await writeFile(join(folder, 'given'), `${given.toString('hex').toUpperCase()}\n`, { mode: 0o400 });
    await writeFile(join(folder, 'frota-key'), credential.toString('hex'), { mode: 0o400 });
    const both = sources({ keyFile: join(folder, 'given'), credentialsFolder: folder });
    expect(Buffer.from((await loadSecretsKey(both)).key)).toEqual(given);
    expect(Buffer.from((await loadSecretsKey(sources({ credentialsFolder: folder }))).key)).toEqual(credential);
    const elsewhere = sources({ credentialsFolder: join(folder, 'none') });
    expect((await loadSecretsKey(elsewhere)).path).toBe(join(folder, secretsKeyFile));
  });

  test('is refused, without a word of it, when it is none; a warning tells when others can read it', async () => {
    const path = join(folder, 'bad');
    await writeFile(path, 'deadbeef'.repeat(7), { mode: 0o600 });
    const failed = loadSecretsKey(sources({ keyFile: path }));
    await expect(failed).rejects.toThrow(withCode('corrupt', 'it has 56 characters'));
    await expect(failed).rejects.not.toThrow(/deadbeef/);
    await expect(loadSecretsKey(sources({ keyFile: join(folder, 'gone') }))).rejects.toThrow(withCode('not-found'));
    await writeFile(path, 'ab'.repeat(32));
    await chmod(path, 0o644);
    warnings.length = 0;
    await loadSecretsKey(sources({ keyFile: path }));
    expect(warnings).toEqual([{ path, mode: '644' }]);
  });
});

describe('sealed records', () => {
  test('hold nothing readable of a secret on disk, and give it back', async () => {
    const sealer = createSealer(key(1));
    const store = openEmbeddedStore(join(folder, 'store'));
    const config = { kind: 'config', name: 'site', bytes: bytesOf('plain words of a config') } as const;
    const ids = [sealer.contentId(secret), sealer.contentId(config)] as const;
    try {
      const contents = new Map<string, Content>([[ids[0], secret]]).set(ids[1], config);
      await store.commit(contentTransactions(contents, sealer, 7));
      expect(await readContent(store, sealer, ids[0])).toEqual({ id: ids[0], bytes: secret.bytes });
      expect(await readContent(store, sealer, ids[1])).toEqual({ id: ids[1], bytes: config.bytes });
      await expect(readContent(store, sealer, 'secret-0')).rejects.toThrow(withCode('not-found', 'apply the stack again')); // prettier-ignore
    } finally {
      await store.close();
    }
    const disk = await readFile(join(folder, 'store', 'store.lmdb'));
    // The config is found, so the search would find the secret.
    expect(disk.includes(Buffer.from(config.bytes))).toBe(true);
    expect(disk.includes(Buffer.from(password))).toBe(false);
    expect(disk.includes(Buffer.from(password).toString('base64'))).toBe(false);
  });

  test('refuse another key than theirs; as long as there are none any key may become theirs', async () => {
    const store = createMemoryStore();
    const [first, second] = [createSealer(key(1)), createSealer(key(2))];
    expect(await hasSealedRecords(store)).toBe(false);
    await adoptSealingKey(store, first.fingerprint, '/one');
    await adoptSealingKey(store, second.fingerprint, '/two');
    const config = { kind: 'config', name: 'site', bytes: bytesOf('x') } as const;
    await store.commit(contentTransactions(new Map([[second.contentId(config), config]]), second, 7));
    expect(await hasSealedRecords(store)).toBe(false);
    await store.commit(contentTransactions(new Map([[second.contentId(secret), secret]]), second, 7));
    expect(await hasSealedRecords(store)).toBe(true);
    await adoptSealingKey(store, second.fingerprint, '/two');
    await expect(adoptSealingKey(store, first.fingerprint, '/one')).rejects.toThrow(
      withCode('corrupt', '/one is not the key'),
    );
    await store.close();
  });
});
