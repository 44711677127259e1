/** A machine joins a real join server over TLS, and then calls the control port with what it got. */
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  isExpired,
  joinCluster,
  loadCredentials,
  renewalDue,
  renewCredentials,
} from '../../../agent/session/credentials.ts';
import type { Credentials, JoinOptions } from '../../../agent/session/credentials.ts';
import { nodeLifetimeMs, loadOrCreateAuthority } from '../../../controller/security/authority.ts';
import type { Authority } from '../../../controller/security/authority.ts';
import { requireRole } from '../../../controller/security/roles.ts';
import { consumeToken, issueToken } from '../../../controller/security/tokens.ts';
import { createMemoryStore } from '../../../controller/store/memory/memory-store.ts';
import type { Store } from '../../../controller/store/store.ts';
import type { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { connect, createClient } from '../../../proto/rpc/client.ts';
import { createServer } from '../../../proto/rpc/server.ts';
import { dispatchService, joinService } from '../../../proto/rpc/service.ts';

const withCode = (code: string, message = ''): FrotaError =>
  expect.objectContaining({ code, message: expect.stringContaining(message) as string }) as FrotaError;

let folder: string;
let dataDir: string;
let authority: Authority;
let store: Store;
let joinAddress: string;
let controlAddress: string;
let joins: number;
let closers: (() => Promise<void> | void)[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ft-join-'));
  dataDir = join(folder, 'node');
  authority = await loadOrCreateAuthority(join(folder, 'ca'), Date.now());
  store = createMemoryStore();
  joins = 0;
  closers = [() => store.close()];
  controlAddress = await serveControl(authority);
  joinAddress = await serveJoin(authority);
});

afterEach(async () => {
  for (const close of closers.reverse()) await close();
  await rm(folder, { recursive: true, force: true });
});

async function serveJoin(ca: Authority): Promise<string> {
  const identity = await ca.issueServer([], Date.now());
  const tls = { ...identity, ca: ca.certificate, requireClientCertificate: false };
  const server = createServer({ tls, logger: silentLogger });
  server.add(joinService, {
    join: async ({ token, nodeName, certificateRequest }, { peer, remoteAddress }) => {
      joins += 1;
      expect(peer).toBeUndefined();
      expect(remoteAddress).toBe('127.0.0.1');
      await consumeToken(store, token, Date.now());
      const nodeId = `id-of-${nodeName}`;
      const certificate = await ca.signNode(certificateRequest, nodeId, Date.now());
      return { nodeId, certificate, caCertificate: ca.certificate, controlAddress };
    },
  });
  const { port } = await server.listen('127.0.0.1:0');
  closers.push(() => server.close());
  return `127.0.0.1:${String(port)}`;
}

async function serveControl(ca: Authority): Promise<string> {
  const identity = await ca.issueServer([], Date.now());
  const tls = { ...identity, ca: ca.certificate, requireClientCertificate: true };
  const server = createServer({ tls, logger: silentLogger });
  server.add(dispatchService, {
    session: async function* () {
      yield { kind: 'synced' };
    },
    renewCertificate: async ({ certificateRequest }, { peer }) => {
      const { commonName } = requireRole(peer, 'node');
      const certificate = await ca.signNode(certificateRequest, commonName, Date.now());
      return { certificate, caCertificate: ca.certificate };
    },
    fetchContents: async () => ({ contents: [] }),
    getRegistryCredential: async () => ({}),

    stream: async function* () {
      throw new Error('not in this test');
    },
  });
  const { port } = await server.listen('127.0.0.1:0');
  closers.push(() => server.close());
  return `127.0.0.1:${String(port)}`;
}

function optionsOf(token: string, more: Partial<JoinOptions> = {}): JoinOptions {
  const { signal } = new AbortController();
  return {
    address: joinAddress,
    token,
    nodeName: 'n1',
    dataDir,
    nowMs: Date.now(),
    signal,
    logger: silentLogger,
    ...more,
  };
}

const newToken = async (ttlMs?: number): Promise<string> =>
  (await issueToken(store, authority.digest, Date.now(), ttlMs)).token;

function dispatch({ controlAddresses, ca, certificate, key }: Credentials) {
  const connection = connect({ addresses: controlAddresses, tls: { ca, certificate, key } });
  closers.push(() => {
    connection.close();
  });
  return createClient(dispatchService, connection);
}

describe('joining', () => {
  test('a good token makes a node, durably, whose certificate opens the control port', async () => {
    const credentials = await joinCluster(optionsOf(await newToken()));
    expect(credentials).toMatchObject({ nodeId: 'id-of-n1', controlAddresses: [controlAddress] });
    expect(credentials.ca.trim()).toBe(authority.certificate.trim());
    expect(await loadCredentials(dataDir)).toEqual(credentials);
    expect(await readdir(dataDir)).toEqual(['credentials.json']);
    expect((await stat(join(dataDir, 'credentials.json'))).mode & 0o777).toBe(0o600);
    const renewed = await renewCredentials(dispatch(credentials), credentials, dataDir, new AbortController().signal);
    expect(renewed.nodeId).toBe(credentials.nodeId);
    expect(renewed.key).not.toBe(credentials.key);
    expect(await loadCredentials(dataDir)).toEqual(renewed);
    const again = await renewCredentials(dispatch(renewed), renewed, dataDir, new AbortController().signal);
    expect(new X509Certificate(again.certificate).subject).toContain('id-of-n1');
  });

  test('a node keeps what it has and does not look at the token', async () => {
    const credentials = await joinCluster(optionsOf(await newToken()));
    expect(await joinCluster(optionsOf('nonsense', { address: 'nowhere' }))).toEqual(credentials);
    expect(joins).toBe(1);
  });

  test('a used token is refused; nothing is stored', async () => {
    const token = await newToken();
    await joinCluster(optionsOf(token, { dataDir: join(folder, 'first') }));
    await expect(joinCluster(optionsOf(token))).rejects.toThrow(withCode('unauthenticated', 'used already'));
    expect(await loadCredentials(dataDir)).toBeUndefined();
  });

  test('an expired token is refused', async () => {
    const { token } = await issueToken(store, authority.digest, Date.now() - 10_000, 5_000);
    await expect(joinCluster(optionsOf(token))).rejects.toThrow(withCode('unauthenticated', 'expired at'));
  });

  test('a server of another CA gets nothing, not even the token', async () => {
    const other = await loadOrCreateAuthority(join(folder, 'other'), Date.now());
    const address = await serveJoin(other);
    await expect(joinCluster(optionsOf(await newToken(), { address }))).rejects.toThrow(
      withCode('unauthenticated', 'not of the cluster that the token is for'),
    );
    expect(joins).toBe(0);
  });

  test('a server that shows the right CA without being of it gets nothing', async () => {
    const other = await loadOrCreateAuthority(join(folder, 'other'), Date.now());
    const { certificate, key } = await other.issueServer([], Date.now());
    const leaf = certificate.slice(0, certificate.indexOf('-----END CERTIFICATE-----') + 26);
    const forged = `${leaf}\n${authority.certificate}\n${other.certificate}\n`;
    const tls = { certificate: forged, key, ca: other.certificate, requireClientCertificate: false };
    const server = createServer({ tls, logger: silentLogger });
    server.add(joinService, {
      join: async () => {
        joins += 1;
        return { nodeId: 'x', certificate: '', caCertificate: '', controlAddress: '' };
      },
    });
    const { port } = await server.listen('127.0.0.1:0');
    closers.push(() => server.close());
    const address = `127.0.0.1:${String(port)}`;
    await expect(joinCluster(optionsOf(await newToken(), { address }))).rejects.toThrow();
    expect(joins).toBe(0);
  });

  test('no token, a cut token, a wrong address: each is said', async () => {
    const token = await newToken();
    await expect(joinCluster(optionsOf(''))).rejects.toThrow(withCode('invalid', 'not a join token'));
    await expect(joinCluster(optionsOf(token.slice(0, -3)))).rejects.toThrow(withCode('invalid', 'cut short'));
    await expect(joinCluster(optionsOf(token, { address: 'there' }))).rejects.toThrow(withCode('invalid', 'host:port'));
    await expect(joinCluster(optionsOf(token, { address: '127.0.0.1:1' }))).rejects.toThrow(
      withCode('unavailable', '127.0.0.1:1'),
    );
  });

  test('a listener that never speaks does not hold up an abort', async () => {
    const silent = createTcpServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    closers.push(() => {
      silent.close();
    });
    const address = `127.0.0.1:${String((silent.address() as AddressInfo).port)}`;
    const abort = new AbortController();
    const joining = joinCluster(optionsOf(await newToken(), { address, signal: abort.signal }));
    setTimeout(() => {
      abort.abort();
    }, 50);
    await expect(joining).rejects.toThrow(withCode('cancelled'));
  });
});

describe('stored credentials', () => {
  test('are due from half of their life on, and expire', async () => {
    const credentials = await joinCluster(optionsOf(await newToken()));
    const hour = 3600_000;
    expect(renewalDue(credentials, Date.now() + nodeLifetimeMs / 2 - hour)).toBe(false);
    expect(renewalDue(credentials, Date.now() + nodeLifetimeMs / 2 + hour)).toBe(true);
    expect(isExpired(credentials, Date.now() + nodeLifetimeMs - hour)).toBe(false);
    expect(isExpired(credentials, Date.now() + nodeLifetimeMs + hour)).toBe(true);
  });

  test('an expired node joins anew with a token', async () => {
    const credentials = await joinCluster(optionsOf(await newToken()));
    const later = Date.now() + nodeLifetimeMs + 3600_000;
    await expect(joinCluster(optionsOf('', { nowMs: later }))).rejects.toThrow(withCode('invalid'));
    const again = await joinCluster(optionsOf(await newToken(), { nowMs: later }));
    expect(again.key).not.toBe(credentials.key);
  });

  test('damaged ones are said, with what to do', async () => {
    const credentials = await joinCluster(optionsOf(await newToken()));
    const path = join(dataDir, 'credentials.json');
    const text = await readFile(path, 'utf8');
    const stranger = { ...credentials, nodeId: 'someone-else' };
    for (const damaged of ['', text.slice(0, 100), '{}', 'null', JSON.stringify(stranger)]) {
      await writeFile(path, damaged);
      await expect(loadCredentials(dataDir)).rejects.toThrow(withCode('corrupt', 'join again'));
    }
  });
});
