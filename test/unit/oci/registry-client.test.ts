/** The client against servers that speak HTTP for real and misbehave as registries do. All on loopback, so without TLS. */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseChallenges } from '../../../proto/oci/authorization.ts';
import { digestOf } from '../../../proto/oci/digest.ts';
import { maxManifestBytes } from '../../../proto/oci/manifest.ts';
import { parseReference } from '../../../proto/oci/reference.ts';
import { createRegistryClient } from '../../../proto/oci/registry-client.ts';
import type { RegistryClient, RegistryClientOptions } from '../../../proto/oci/registry-client.ts';
import { resolveDigest } from '../../../proto/oci/resolve.ts';
import { retryAfterMs } from '../../../proto/oci/retry.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const retry = { backoff: { firstMs: 10, factor: 1, maxMs: 10 }, maxAttempts: 4, budgetMs: 3_000 };
const never = new AbortController().signal;
const blobBytes = Buffer.from('0123456789'.repeat(200_000));
const blob = { mediaType: 'x', digest: digestOf(blobBytes), size: blobBytes.length };
const manifestBytes = Buffer.from('{"schemaVersion":2}');

let servers: Server[] = [];
let clients: RegistryClient[] = [];

beforeEach(() => {
  servers = [];
  clients = [];
});
afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(handler: Handler): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}

function client(options: RegistryClientOptions = {}): RegistryClient {
  const made = createRegistryClient({ retry, ...options });
  clients.push(made);
  return made;
}

const getManifest = (host: string, using = client()): ReturnType<RegistryClient['getManifest']> =>
  using.getManifest(parseReference(`${host}/app:1`), { signal: never });

async function readAll(host: string, using = client(), signal = never): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of using.readBlob(parseReference(`${host}/app:1`), blob, { signal })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const complain = (response: ServerResponse, status: number, code: string): void => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ errors: [{ code, message: 'said the registry' }] }));
};

describe('authorization', () => {
  /** A registry that wants a bearer token for each pull, and its token server. */
  async function guarded(wants?: string): Promise<{ host: string; seen: string[] }> {
    const seen: string[] = [];
    const host = await serve((request, response) => {
      const { authorization = 'none' } = request.headers;
      seen.push(`${request.url?.split('?')[0] ?? ''} ${authorization}`);
      if (request.url?.startsWith('/token') === true) {
        const query = new URL(request.url, 'http://x').searchParams;
        if (wants !== undefined && authorization !== wants) return void response.writeHead(401).end();
        expect(query.get('service')).toBe('reg');
        expect(query.get('scope')).toBe('repository:app:pull');
        return void response.end(JSON.stringify({ token: 'T', expires_in: 300 }));
      }
      if (authorization !== 'Bearer T') {
        response.writeHead(401, {
          'www-authenticate': `Bearer realm="http://${host}/token",service="reg",scope="repository:app:pull"`,
        });
        return void response.end();
      }
      response.writeHead(200, { 'content-type': 'application/x' }).end(manifestBytes);
    });
    return { host, seen };
  }

  test('an anonymous token is fetched once and kept', async () => {
    const { host, seen } = await guarded();
    const using = client();
    expect((await getManifest(host, using)).bytes.equals(manifestBytes)).toBe(true);
    await getManifest(host, using);
    expect(seen).toEqual([
      '/v2/app/manifests/1 none',
      '/token none',
      '/v2/app/manifests/1 Bearer T',
      '/v2/app/manifests/1 Bearer T',
    ]);
  });

  test('credentials go to the token server, and a wrong password says so', async () => {
    const header = `Basic ${Buffer.from('me:secret').toString('base64')}`;
    const { host } = await guarded(header);
    const as = (password: string): RegistryClient =>
      client({ credentials: () => Promise.resolve({ username: 'me', password }) });
    expect((await getManifest(host, as('secret'))).bytes.equals(manifestBytes)).toBe(true);
    await expect(getManifest(host, as('wrong'))).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringMatching(/no token to user "me"/) as string,
    });
  });

  test('Basic, with and without credentials', async () => {
    const host = await serve((request, response) => {
      if (request.headers.authorization === `Basic ${Buffer.from('me:secret').toString('base64')}`) {
        return void response.end(manifestBytes);
      }
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
    });
    const credentials = (): Promise<{ username: string; password: string }> =>
      Promise.resolve({ username: 'me', password: 'secret' });
    expect((await getManifest(host, client({ credentials }))).digest).toBe(digestOf(manifestBytes));
    await expect(getManifest(host)).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining(`registry ${host} refuses the pull of ${host}/app:1`) as string,
    });
  });

  test('redirects to another origin never carry it', async () => {
    const storage = await serve((request, response) => {
      expect(request.headers.authorization).toBeUndefined();
      response.end(blobBytes);
    });
    const { host } = await (async () => {
      const registry = await serve((request, response) => {
        if (request.headers.authorization === undefined) {
          return void response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
        }
        response.writeHead(307, { location: `http://${storage}/bytes` }).end();
      });
      return { host: registry };
    })();
    const credentials = (): Promise<{ username: string; password: string }> =>
      Promise.resolve({ username: 'u', password: 'p' });
    expect((await readAll(host, client({ credentials }))).equals(blobBytes)).toBe(true);
  });

  test('a redirect to plain HTTP elsewhere is refused', async () => {
    const host = await serve((_request, response) => {
      response.writeHead(302, { location: 'http://192.0.2.1/bytes' }).end();
    });
    await expect(readAll(host)).rejects.toMatchObject({ code: 'unsupported' });
  });

  test('challenges are read as they are written', () => {
    expect(
      parseChallenges('Bearer realm="https://a/t?x=1,2",service="s",scope="repository:a:pull,push", Basic realm=r'),
    ).toEqual([
      { scheme: 'bearer', parameters: { realm: 'https://a/t?x=1,2', service: 's', scope: 'repository:a:pull,push' } },
      { scheme: 'basic', parameters: { realm: 'r' } },
    ]);
    expect(parseChallenges('BEARER realm="a \\"b\\""')).toEqual([{ scheme: 'bearer', parameters: { realm: 'a "b"' } }]);
    expect(parseChallenges('')).toEqual([]);
    expect(parseChallenges('"""')).toEqual([]);
  });
});

describe('failures', () => {
  test('what passes is tried again, what does not is not', async () => {
    let failing = 2;
    let asked = 0;
    const host = await serve((_request, response) => {
      asked += 1;
      if (failing-- > 0) return void response.writeHead(503, { 'retry-after': '0' }).end();
      response.end(manifestBytes);
    });
    expect((await getManifest(host)).bytes.equals(manifestBytes)).toBe(true);
    expect(asked).toBe(3);
    const refusing = await serve((_request, response) => {
      asked += 1;
      complain(response, 404, 'MANIFEST_UNKNOWN');
    });
    await expect(getManifest(refusing)).rejects.toMatchObject({ code: 'not-found' });
    expect(asked).toBe(4);
  });

  test('a wait beyond the budget is not begun', async () => {
    const host = await serve((_request, response) => {
      response.setHeader('retry-after', '600');
      complain(response, 429, 'TOOMANYREQUESTS');
    });
    const startedAt = performance.now();
    await expect(getManifest(host)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('limits the rate') as string,
    });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  test('a registry that is silent is given up within the budget', async () => {
    const host = await serve(() => undefined);
    const using = client({ retry: { ...retry, budgetMs: 300 } });
    await expect(getManifest(host, using)).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('Retry-After', () => {
    expect(retryAfterMs('3', 0)).toBe(3_000);
    expect(retryAfterMs(new Date(5_000).toUTCString(), 1_000)).toBe(4_000);
    expect(retryAfterMs(new Date(0).toUTCString(), 1_000)).toBe(0);
    expect(retryAfterMs('soon', 0)).toBeUndefined();
    expect(retryAfterMs(undefined, 0)).toBeUndefined();
  });

  test('an abort ends a wait at once', async () => {
    const host = await serve(() => undefined);
    const abort = new AbortController();
    const asking = client().getManifest(parseReference(`${host}/app:1`), { signal: abort.signal });
    setTimeout(() => {
      abort.abort();
    }, 50);
    await expect(asking).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('manifests', () => {
  test('other bytes than the digest says are refused', async () => {
    const host = await serve((_request, response) => response.end(manifestBytes));
    const reference = parseReference(`${host}/app@${digestOf('something else')}`);
    await expect(client().getManifest(reference, { signal: never })).rejects.toMatchObject({ code: 'corrupt' });
  });

  test('one that does not end is refused at the limit', async () => {
    const host = await serve((_request, response) => {
      response.on('error', () => undefined);
      response.write(Buffer.alloc(maxManifestBytes));
      response.end('x');
    });
    await expect(getManifest(host)).rejects.toMatchObject({ code: 'exhausted' });
  });
});

describe('blobs', () => {
  /** Serves ranges, but breaks each of the first `breaks` answers off after `pieceSize` bytes. */
  function breaking(breaks: number, pieceSize: number, honoursRange = true): { handler: Handler; ranges: string[] } {
    const ranges: string[] = [];
    let left = breaks;
    return {
      ranges,
      handler: (request, response) => {
        ranges.push(request.headers.range ?? 'all');
        const start = honoursRange ? Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0;
        const rest = blobBytes.subarray(start);
        const range = `bytes ${String(start)}-${String(blobBytes.length - 1)}/${String(blobBytes.length)}`;
        response.writeHead(start === 0 ? 200 : 206, {
          'content-length': rest.length,
          ...(start === 0 ? {} : { 'content-range': range }),
        });
        if (left-- <= 0) return void response.end(rest);
        response.write(rest.subarray(0, pieceSize), () => response.destroy());
      },
    };
  }

  test('a download goes on where it broke off, as often as it makes progress', async () => {
    const { handler, ranges } = breaking(5, 300_000);
    const host = await serve(handler);
    expect((await readAll(host)).equals(blobBytes)).toBe(true);
    expect(ranges).toEqual(['all', ...[1, 2, 3, 4, 5].map((times) => `bytes=${String(times * 300_000)}-`)]);
  });

  test('also where the registry knows no ranges', async () => {
    const host = await serve(breaking(2, 300_000, false).handler);
    expect((await readAll(host)).equals(blobBytes)).toBe(true);
  });

  test('without progress it ends', async () => {
    const { handler, ranges } = breaking(1_000, 100);
    const host = await serve(handler);
    await expect(readAll(host)).rejects.toMatchObject({ code: 'unavailable' });
    expect(ranges).toHaveLength(retry.maxAttempts);
  });

  test.each([
    ['shorter', blobBytes.subarray(1), true],
    ['longer', Buffer.concat([blobBytes, Buffer.from('x')]), true],
    ['shorter, unannounced', blobBytes.subarray(1), false],
    ['longer, unannounced', Buffer.concat([blobBytes, Buffer.from('x')]), false],
  ])('one that is %s is refused', async (_name, bytes, isAnnounced) => {
    const host = await serve((_request, response) => {
      if (isAnnounced) response.setHeader('content-length', bytes.length);
      response.write(bytes);
      response.end();
    });
    await expect(readAll(host)).rejects.toMatchObject({ code: 'corrupt' });
  });

  test('an abort in the midst', async () => {
    const host = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': blobBytes.length });
      response.write(blobBytes.subarray(0, 1000));
    });
    const abort = new AbortController();
    setTimeout(() => {
      abort.abort();
    }, 100);
    await expect(readAll(host, client(), abort.signal)).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('resolveDigest', () => {
  test('by HEAD, canonical', async () => {
    const digest = digestOf(manifestBytes);
    const host = await serve((request, response) => {
      expect(request.method).toBe('HEAD');
      response.writeHead(200, { 'docker-content-digest': digest }).end();
    });
    expect(await resolveDigest(client(), `${host}/app`, { signal: never })).toEqual({
      reference: `${host}/app:latest`,
      digest,
    });
  });

  test('by the bytes where HEAD does not say', async () => {
    const host = await serve((_request, response) => response.end(manifestBytes));
    expect((await resolveDigest(client(), `${host}/app:2`, { signal: never })).digest).toBe(digestOf(manifestBytes));
  });

  test.each([
    [404, 'NAME_UNKNOWN', 'not-found', 'has no repository "app"'],
    [404, 'MANIFEST_UNKNOWN', 'not-found', 'has no tag "2"'],
    [401, 'UNAUTHORIZED', 'unauthenticated', 'does not exist there, or wants to know who pulls'],
    [403, 'DENIED', 'unauthenticated', 'does not exist there, or wants to know who pulls'],
    [500, 'UNKNOWN', 'unavailable', 'fails to serve'],
  ])('%i %s is %s', async (status, complaint, code, message) => {
    const host = await serve((_request, response) => {
      complain(response, status, complaint);
    });
    const resolving = resolveDigest(client(), `${host}/app:2`, { signal: never });
    await expect(resolving).rejects.toMatchObject({ code, message: expect.stringContaining(message) as string });
    await expect(resolving).rejects.toThrow(`${host}/app:2`);
  });

  test('nobody there', async () => {
    const host = await serve(() => undefined);
    servers[0]?.close();
    await expect(resolveDigest(client(), `${host}/app:2`, { signal: never })).rejects.toMatchObject({
      code: 'unavailable',
      message: `registry ${host} can't be reached for ${host}/app:2: connection refused`,
    });
  });

  test('a platform the index lacks', async () => {
    const manifests = [
      { mediaType: 'm', digest: digestOf('x'), size: 1, platform: { os: 'linux', architecture: 'arm64' } },
    ];
    const host = await serve((_request, response) => {
      response.setHeader('content-type', 'application/vnd.oci.image.index.v1+json; charset=utf-8');
      response.end(JSON.stringify({ schemaVersion: 2, manifests }));
    });
    const resolve = (architecture: string): ReturnType<typeof resolveDigest> =>
      resolveDigest(client(), `${host}/app:2`, { signal: never, platform: { os: 'linux', architecture } });
    await expect(resolve('amd64')).rejects.toMatchObject({ code: 'unsupported' });
    expect((await resolve('arm64')).reference).toBe(`${host}/app:2`);
  });
});
