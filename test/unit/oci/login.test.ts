/** Logging in to registries: who we are is checked, looked up anew when it is refused, and told to nobody else. */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCredentialProvider } from '../../../agent/images/registry-credentials.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { Credentials } from '../../../proto/oci/authorization.ts';
import { checkLogin } from '../../../proto/oci/check-login.ts';
import { digestOf } from '../../../proto/oci/digest.ts';
import { parseReference, parseRegistry } from '../../../proto/oci/reference.ts';
import { createRegistryClient } from '../../../proto/oci/registry-client.ts';
import type { RegistryClient, RegistryClientOptions } from '../../../proto/oci/registry-client.ts';
import { startPrivateRegistry } from '../../builders/private-registry.ts';
import type { PrivateRegistry, PrivateRegistryOptions } from '../../builders/private-registry.ts';

const manifest = Buffer.from('{"schemaVersion":2}');
const never = new AbortController().signal;
const ana = { username: 'ana', password: 'pear:tree' };
/** No time passes. */
const still = { now: () => ({ monoMs: monoMs(0), wallMs: wallMs(0) }) };
const retry = { backoff: { firstMs: 5, factor: 1, maxMs: 5 }, maxAttempts: 2, budgetMs: 2_000 };

let servers: Server[];
let doors: PrivateRegistry[];
let clients: RegistryClient[];
let upstream: string;

async function serve(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}
async function door(kind: PrivateRegistryOptions['kind']): Promise<PrivateRegistry> {
  const made = await startPrivateRegistry({ kind, upstream, ...ana });
  doors.push(made);
  return made;
}
function client(options: RegistryClientOptions): RegistryClient {
  const made = createRegistryClient({ retry, ...options });
  clients.push(made);
  return made;
}
const pull = (using: RegistryClient, host: string) =>
  using.getManifest(parseReference(`${host}/app:1`), { signal: never });
const check = (host: string, credentials: Credentials) =>
  checkLogin(host, credentials, { insecureRegistries: [], signal: never });

beforeEach(async () => {
  [servers, doors, clients] = [[], [], []];
  upstream = await serve((request, response) => {
    expect(request.headers.authorization).toBeUndefined();
    response.end(request.url === '/v2/' ? '{}' : manifest);
  });
});
afterEach(async () => {
  await Promise.all([...clients.map((each) => each.close()), ...doors.map((each) => each.stop())]);
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

describe.each(['basic', 'bearer'] as const)('a registry that wants %s', (kind) => {
  it('takes the right password at login and no other, which is not repeated', async () => {
    const { host } = await door(kind);
    await check(host, ana);
    const refused = check(host, { ...ana, password: 'plum' });
    await expect(refused).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(refused).rejects.toThrow(new RegExp(`registry ${host}.*"ana"`));
    await expect(refused).rejects.not.toThrow(/plum/);
  });

  it('serves a pull that knows it, and refuses others', async () => {
    const { host } = await door(kind);
    const knows = client({ credentials: () => Promise.resolve(ana) });
    expect((await pull(knows, host)).digest).toBe(digestOf(manifest));
    await expect(pull(client({}), host)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('is told a changed password without a restart: what it refuses is asked for anew, once', async () => {
    const registry = await door(kind);
    let stored: Credentials | undefined = ana;
    const asked: string[] = [];
    const credentials = createCredentialProvider((host) => {
      asked.push(host);
      return Promise.resolve(stored);
    }, still);
    const node = client({ credentials });
    await pull(node, registry.host);
    await pull(node, registry.host);
    expect(asked).toEqual([registry.host]);
    registry.setPassword('apple');
    stored = { ...ana, password: 'apple' };
    await pull(node, registry.host);
    expect(asked).toHaveLength(2);
    registry.setPassword('fig');
    await expect(pull(node, registry.host)).rejects.toMatchObject({ code: 'unauthenticated' });
    expect(asked).toHaveLength(3);
  });

  it('is asked as somebody as soon as there is a login', async () => {
    const { host } = await door(kind);
    let stored: Credentials | undefined = undefined;
    const node = client({ credentials: createCredentialProvider(() => Promise.resolve(stored), still) });
    await expect(pull(node, host)).rejects.toMatchObject({ code: 'unauthenticated' });
    stored = ana;
    expect((await pull(node, host)).bytes.equals(manifest)).toBe(true);
  });

  it('is not pulled from any more by whoever reads the login each time, as soon as it is taken away', async () => {
    const { host } = await door(kind);
    let stored: Credentials | undefined = ana;
    const controller = client({ credentials: () => Promise.resolve(stored) });
    await pull(controller, host);
    stored = undefined;
    await expect(pull(controller, host)).rejects.toThrow(`frota registry login ${host}`);
  });
});

describe('a node', () => {
  it('knows of a logout when what it was told is a minute old, and goes on while the controller is away', async () => {
    const { host } = await door('basic');
    let nowMs = 0;
    let answer: () => Promise<Credentials | undefined> = () => Promise.resolve(ana);
    const clock = { now: () => ({ monoMs: monoMs(nowMs), wallMs: wallMs(0) }) };
    const node = client({ credentials: createCredentialProvider(() => answer(), clock) });
    await pull(node, host);
    answer = () => Promise.reject(new FrotaError('unavailable', 'no controller'));
    nowMs = 60_000;
    await pull(node, host);
    answer = () => Promise.resolve(undefined);
    nowMs = 119_999;
    await expect(pull(node, host)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('looks up who it is when a registry forbids what it was allowed before', async () => {
    let allowed = ana.username;
    const host = await serve((request, response) => {
      const user = Buffer.from((request.headers.authorization ?? '').slice('Basic '.length), 'base64').toString().split(':')[0]; // prettier-ignore
      if (user === '') return void response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
      response.writeHead(user === allowed ? 200 : 403).end(manifest);
    });
    let stored = ana;
    const node = client({ credentials: createCredentialProvider(() => Promise.resolve(stored), still) });
    await pull(node, host);
    [allowed, stored] = ['bob', { username: 'bob', password: 'x' }];
    expect((await pull(node, host)).digest).toBe(digestOf(manifest));
    allowed = 'nobody';
    await expect(pull(node, host)).rejects.toMatchObject({ code: 'unauthenticated' });
  });
});

describe('a login', () => {
  it('is good where nobody asks for one, and says when what answers is no registry, or nothing does', async () => {
    await check(upstream, ana);
    const other = await serve((_request, response) => void response.writeHead(404).end());
    await expect(check(other, ana)).rejects.toMatchObject({ code: 'unavailable' });
    const strange = await serve((_request, response) => void response.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()); // prettier-ignore
    await expect(check(strange, ana)).rejects.toMatchObject({ code: 'unsupported' });
    await expect(check('127.0.0.1:1', ana)).rejects.toThrow(/registry 127.0.0.1:1 can't be asked: connection refused/);
  });

  it('never goes to where a token service or a registry redirects to', async () => {
    const seen: (string | undefined)[] = [];
    const elsewhere = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.end(JSON.stringify({ token: 'T' }));
    });
    const token = await serve((_request, response) => void response.writeHead(307, { location: `http://${elsewhere}/token` }).end()); // prettier-ignore
    const host = await serve((request, response) => {
      if (request.headers.authorization !== undefined) return void response.writeHead(307, { location: `http://${elsewhere}/` }).end(); // prettier-ignore
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${token}/t"` }).end();
    });
    await check(host, ana);
    await pull(client({ credentials: () => Promise.resolve(ana) }), host);
    expect(seen).toEqual([undefined, undefined, undefined, undefined]);
  });
});

describe('parseRegistry', () => {
  it.each([
    ['registry.example:5000', 'registry.example:5000'],
    [' https://ghcr.io/ ', 'ghcr.io'],
    ['https://index.docker.io/v1/', 'docker.io'],
    ['registry-1.docker.io', 'docker.io'],
    ['docker.io', 'docker.io'],
    ['http://10.0.0.1:5000/v2', '10.0.0.1:5000'],
  ])('%s is %s', (written, host) => {
    expect(parseRegistry(written)).toBe(host);
  });

  it.each(['', 'a b', 'ghcr.io/app', 'r:0', 'r:70000', 'ana@r', '../x'])('"%s" is none', (written) => {
    expect(() => parseRegistry(written)).toThrow(/is no registry/);
  });
});
