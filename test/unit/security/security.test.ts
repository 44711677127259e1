import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  authorityFile,
  clockSkewMs,
  loadOrCreateAuthority,
  nodeLifetimeMs,
} from '../../../controller/security/authority.ts';
import { livenessKey } from '../../../controller/security/liveness-keys.ts';
import { requireRole } from '../../../controller/security/roles.ts';
import {
  consumeToken,
  createToken,
  deleteExpiredTokens,
  issueToken,
  redemption,
} from '../../../controller/security/tokens.ts';
import { createMemoryStore } from '../../../controller/store/memory/memory-store.ts';
import { tokenKey } from '../../../controller/store/keys.ts';
import type { Store } from '../../../controller/store/store.ts';
import type { FrotaError } from '../../../proto/base/errors.ts';
import { formatJoinToken, parseJoinToken } from '../../../proto/domain/cluster.ts';

const now = Date.parse('2026-03-01T12:00:00Z');
const withCode = (code: string, message = ''): FrotaError =>
  expect.objectContaining({ code, message: expect.stringContaining(message) as string }) as FrotaError;

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ft-security-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

type KeyAlgorithm = { name: 'ECDSA'; namedCurve: string };
const p256: KeyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' };

async function requestOf(name: string, algorithm = p256): Promise<Uint8Array> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ name, keys, signingAlgorithm }, crypto);
  return new Uint8Array(request.rawData);
}

describe('authority', () => {
  test('is made once, for its owner only, and leaves nothing beside it', async () => {
    const first = await loadOrCreateAuthority(join(folder, 'ca'), now);
    const second = await loadOrCreateAuthority(join(folder, 'ca'), now + 1000);
    expect(second.certificate).toBe(first.certificate);
    expect(second.digest).toBe(first.digest);
    expect(first.digest).toMatch(/^[0-9a-f]{32}$/);
    const { mode } = await stat(join(folder, 'ca', authorityFile));
    expect(mode & 0o777).toBe(0o600);
    expect(await readdir(join(folder, 'ca'))).toEqual([authorityFile]);
    const certificate = new X509Certificate(first.certificate);
    expect(certificate.ca).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(Date.parse(certificate.validFrom)).toBe(now - clockSkewMs);
  });

  test('several that start at once agree on one', async () => {
    const all = await Promise.all(Array.from({ length: 5 }, () => loadOrCreateAuthority(folder, now)));
    expect(new Set(all.map(({ certificate }) => certificate)).size).toBe(1);
    expect(await readdir(folder)).toEqual([authorityFile]);
  });

  test('what a crash left half written does not matter', async () => {
    await writeFile(join(folder, '.new-0011223344556677'), '-----BEGIN PRIVATE');
    const authority = await loadOrCreateAuthority(folder, now);
    expect((await loadOrCreateAuthority(folder, now)).digest).toBe(authority.digest);
  });

  test('a damaged file, or a key of another CA, is said and never replaced', async () => {
    await loadOrCreateAuthority(folder, now);
    const path = join(folder, authorityFile);
    const whole = await readFile(path, 'utf8');
    await loadOrCreateAuthority(join(folder, 'other'), now);
    const other = await readFile(join(folder, 'other', authorityFile), 'utf8');
    const certificateOf = (text: string): string => text.slice(text.indexOf('-----BEGIN CERTIFICATE'));
    const mixed = other.replace(certificateOf(other), certificateOf(whole));
    for (const damaged of ['', whole.slice(0, 200), 'hello', mixed]) {
      await writeFile(path, damaged);
      await expect(loadOrCreateAuthority(folder, now)).rejects.toThrow(withCode('corrupt', path));
      expect(await readFile(path, 'utf8')).toBe(damaged);
    }
  });

  test('a controller’s certificate is for its names and addresses and comes with the CA', async () => {
    const authority = await loadOrCreateAuthority(folder, now);
    const { certificate, key } = await authority.issueServer(['10.9.8.7', 'controller.example'], now);
    const leaf = new X509Certificate(certificate);
    expect(certificate.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(certificate).toContain(authority.certificate);
    expect(leaf.checkHost('frota-controller')).toBe('frota-controller');
    expect(leaf.checkHost('controller.example')).toBe('controller.example');
    expect(leaf.checkIP('10.9.8.7')).toBe('10.9.8.7');
    expect(leaf.checkIP('127.0.0.1')).toBe('127.0.0.1');
    expect(leaf.ca).toBe(false);
    expect(leaf.checkIssued(new X509Certificate(authority.certificate))).toBe(true);
    expect(key).toContain('BEGIN PRIVATE KEY');
  });

  test('a node’s certificate has the subject that the controller gives, not the one it asks for', async () => {
    const authority = await loadOrCreateAuthority(folder, now);
    const pem = await authority.signNode(await requestOf('CN=root,O=frota:admin'), 'node-1', now);
    const certificate = new X509Certificate(pem);
    expect(certificate.subject.split('\n').sort()).toEqual(['CN=node-1', 'O=frota:node']);
    expect(certificate.verify(new X509Certificate(authority.certificate).publicKey)).toBe(true);
    expect(Date.parse(certificate.validTo)).toBe(now + nodeLifetimeMs);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
  });

  test('names with separators stay one name', async () => {
    const authority = await loadOrCreateAuthority(folder, now);
    const { certificate } = await authority.issuePerson('eve,O=frota:node+CN=x', 'admin', now);
    const organizations = new x509.X509Certificate(certificate).subjectName.getField('O');
    expect(organizations).toEqual(['frota:admin']);
  });

  test('a request that is none, is changed, or has another kind of key is refused', async () => {
    const authority = await loadOrCreateAuthority(folder, now);
    const changed = await requestOf('CN=n1');
    const last = changed.length - 1;
    changed[last] = (changed[last] ?? 0) ^ 1;
    const p384 = await requestOf('CN=n1', { name: 'ECDSA', namedCurve: 'P-384' });
    for (const request of [new Uint8Array(), Uint8Array.of(1, 2, 3), changed, p384, new Uint8Array(100_000)]) {
      await expect(authority.signNode(request, 'n', now)).rejects.toThrow(withCode('invalid'));
    }
    await expect(authority.signNode(p384, 'n', now)).rejects.toThrow('not ECDSA P-256');
  });
});

describe('join tokens', () => {
  const digest = 'a'.repeat(32);
  let store: Store;

  beforeEach(() => {
    store = createMemoryStore();
  });

  afterEach(async () => {
    await store.close();
  });

  test('the text carries id, secret and CA digest; the record only a hash', () => {
    const { token, record } = createToken(digest, now);
    const parsed = parseJoinToken(` ${token}\n`);
    expect(parsed.caDigest).toBe(digest);
    expect(parsed.id).toBe(record.id);
    expect(formatJoinToken(parsed)).toBe(token);
    expect(Buffer.from(record.secretHash).toString('hex')).not.toContain(parsed.secret);
    expect(record.expiresAtMs).toBe(now + 3600_000);
  });

  test.each([
    ['', 'does not start'],
    ['SWMTKN-1-abc', 'does not start'],
    ['frota-abc', 'cut short'],
    [`frota-0123456789-${'A'.repeat(32)}-${'b'.repeat(32)}`, 'cut short'],
    [`frota-0123456789-${'a'.repeat(32)}-${'b'.repeat(31)}`, 'cut short'],
  ])('%j is no token', (text, why) => {
    expect(() => parseJoinToken(text)).toThrow(withCode('invalid', why));
    expect(() => parseJoinToken(text)).toThrow('not a join token');
  });

  test.each([0, -1, Number.NaN, 8 * 24 * 3600_000])('%d ms is no time to live', (ttlMs) => {
    expect(() => createToken(digest, now, ttlMs)).toThrow(withCode('invalid'));
  });

  test('is good once', async () => {
    const { token } = await issueToken(store, digest, now);
    await consumeToken(store, token, now);
    await expect(consumeToken(store, token, now)).rejects.toThrow(
      withCode('unauthenticated', 'used already or never issued'),
    );
  });

  test('of many that use it at once one wins', async () => {
    const { token } = await issueToken(store, digest, now);
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => consumeToken(store, token, now)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('unknown, wrong and expired are told apart, say what to do, and do not use the token up', async () => {
    const { token } = await issueToken(store, digest, now, 60_000);
    const wrong = formatJoinToken({ ...parseJoinToken(token), secret: '0'.repeat(32) });
    const { token: unknown } = createToken(digest, now);
    await expect(consumeToken(store, wrong, now)).rejects.toThrow(withCode('unauthenticated', 'secret is wrong'));
    await expect(consumeToken(store, unknown, now)).rejects.toThrow(withCode('unauthenticated', 'never issued'));
    await expect(consumeToken(store, token, now + 60_000)).rejects.toThrow(
      withCode('unauthenticated', 'expired at 2026-03-01T12:01:00.000Z'),
    );
    await expect(consumeToken(store, unknown, now)).rejects.toThrow('"frota cluster token" prints a new one');
    await consumeToken(store, token, now + 59_999);
  });

  test('is used up in the transaction that admits the machine, or not at all', async () => {
    const { token } = await issueToken(store, digest, now);
    const used = await redemption(store, token, now);
    const taken = { compares: [...used.compares, { key: 'nodes/x', modRevision: 7 }], operations: used.operations };
    expect((await store.commit([taken]))[0]?.kind).toBe('conflict');
    await consumeToken(store, token, now);
  });

  test('expired ones are cleared, others stay', async () => {
    await issueToken(store, digest, now, 1000);
    const { token } = await issueToken(store, digest, now, 5000);
    await deleteExpiredTokens(store, now + 1000);
    expect((await store.range(tokenKey(''))).entries).toHaveLength(1);
    await consumeToken(store, token, now);
  });
});

describe('roles', () => {
  const peer = (organization: string) => ({ commonName: 'ana', organization, serialNumber: '1' });

  test('only the role asked for passes', () => {
    expect(requireRole(peer('frota:admin'), 'admin').commonName).toBe('ana');
    expect(() => requireRole(peer('frota:node'), 'admin')).toThrow(withCode('forbidden', '"ana" (frota:node)'));
    expect(() => requireRole(peer('frota:admin'), 'node')).toThrow(withCode('forbidden'));
    expect(() => requireRole(peer(''), 'node')).toThrow(withCode('forbidden', 'no role'));
    expect(() => requireRole(undefined, 'node')).toThrow(withCode('unauthenticated'));
    expect(() => requireRole({ ...peer('frota:node'), commonName: '' }, 'node')).toThrow(withCode('forbidden'));
  });
});

describe('liveness keys', () => {
  test('are 32 bytes, the same again, and each node’s own', () => {
    const secret = new Uint8Array(32).fill(7);
    expect(livenessKey(secret, 'a')).toHaveLength(32);
    expect(livenessKey(secret, 'a')).toEqual(livenessKey(secret, 'a'));
    expect(livenessKey(secret, 'a')).not.toEqual(livenessKey(secret, 'b'));
    expect(livenessKey(new Uint8Array(32), 'a')).not.toEqual(livenessKey(secret, 'a'));
  });
});
