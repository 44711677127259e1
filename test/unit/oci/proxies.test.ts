/** Proxies of the environment: which URL goes through which, and a manifest that really comes through one. */
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { insecureRegistries } from '../../../proto/oci/insecure-registries.ts';
import { proxiesOf } from '../../../proto/oci/proxies.ts';
import { Transport } from '../../../proto/oci/transport.ts';

describe('which proxy', () => {
  const environment = {
    HTTP_PROXY: 'proxy.test:3128',
    HTTPS_PROXY: 'http://user:word@proxy.test:3129',
    NO_PROXY: 'inner.test, .below.test,10.0.0.0/8,other.test:5000,192.0.2.7,fd00::/8',
  };
  test.each([
    ['http://registry.test/v2/', 'proxy.test:3128'],
    ['https://registry.test/v2/', 'proxy.test:3129'],
    ['https://inner.test/', undefined],
    ['https://a.inner.test/', undefined],
    ['https://notinner.test/', 'proxy.test:3129'],
    ['https://a.below.test/', undefined],
    ['https://10.1.2.3:5000/', undefined],
    ['https://11.1.2.3:5000/', 'proxy.test:3129'],
    ['https://other.test:5000/', undefined],
    ['https://other.test/', 'proxy.test:3129'],
    ['https://192.0.2.7/', undefined],
    ['https://[fd00::1]:5000/', undefined],
    ['http://127.0.0.1:5000/', undefined],
    ['http://[::1]:5000/', undefined],
    ['http://localhost:5000/', undefined],
  ])('%s', (url, proxy) => {
    expect(proxiesOf(environment)(new URL(url))?.host).toBe(proxy);
  });

  test('none, all excepted, lower case first, and one that is no URL', () => {
    const url = new URL('https://registry.test/');
    expect(proxiesOf({})(url)).toBeUndefined();
    expect(proxiesOf({ ...environment, NO_PROXY: '*' })(url)).toBeUndefined();
    expect(proxiesOf({ ...environment, https_proxy: 'http://lower.test:1' })(url)?.host).toBe('lower.test:1');
    expect(() => proxiesOf({ HTTPS_PROXY: 'ftp://user:word@proxy.test' })).toThrow(/^HTTPS_PROXY(?!.*word)/);
  });
});

describe('through a proxy', () => {
  const closers: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });
  const listen = async (server: Server): Promise<number> => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closers.push(() => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });
    return (server.address() as AddressInfo).port;
  };

  test('a registry whose name only the proxy knows', async () => {
    const registry = await listen(createServer((_request, response) => response.end('from behind')));
    const asked: string[] = [];
    const sockets: Socket[] = [];
    const proxy = createServer();
    proxy.on('connect', (request, socket: Socket) => {
      asked.push(`${request.url ?? ''} ${request.headers['proxy-authorization'] ?? ''}`);
      const behind = connect(registry, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        behind.pipe(socket).pipe(behind);
      });
      for (const each of [socket, behind]) each.on('error', () => undefined);
      sockets.push(socket, behind);
    });
    const port = await listen(proxy);
    closers.push(() => {
      for (const socket of sockets) socket.destroy();
      return Promise.resolve();
    });
    const transport = new Transport(insecureRegistries(['registry.test']), {
      http_proxy: `http://user:word@127.0.0.1:${String(port)}`,
    });
    closers.push(() => transport.close());
    const { signal } = new AbortController();
    const response = await transport.ask(new URL('http://registry.test:5000/v2/'), {
      method: 'GET',
      headers: {},
      signal,
    });
    expect(await response.body.text()).toBe('from behind');
    const basic = Buffer.from('user:word').toString('base64');
    expect(asked).toEqual([`registry.test:5000 Basic ${basic}`]);
  });
});
