/** The name server in its node: who reaches it, how C libraries get on with it, and what they see while it is away. */
import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderResolvConf } from '../../../agent/dns/resolv-conf.ts';
import type { Attachment } from '../../../agent/network/network.ts';
import type { Endpoint, ServiceUnit } from '../../../proto/domain/assignment.ts';
import type { Heard } from './dns-client.ts';
import { TestNetwork, get, inside, switchAddress, switchNamespace } from './test-nodes.ts';
import type { TestNode } from './test-nodes.ts';

const net = new TestNetwork();
const [a, b] = net.nodes as [TestNode, TestNode];
const asked: string[] = [];
let resolver: ChildProcessWithoutNullStreams;
let shop: Attachment;
let shopAtB: Attachment;
let blog: Attachment;
let sealed: Attachment;

const member = (at: Attachment, node: TestNode): Endpoint => ({ taskId: at.taskId, nodeId: `id-${node.name}`, address: at.address, slot: 1 }); // prettier-ignore

function service(stack: string, name: string, vip: string, endpoints: readonly Endpoint[], networks: readonly string[], ...aliases: readonly string[]): ServiceUnit {
  const attachments = networks.map((network) => ({ network, aliases }));
  return { kind: 'service', stack, name, vip, ports: [], endpoints, members: endpoints, networks: attachments };
} // prettier-ignore

const services = (): readonly ServiceUnit[] => [
  service('shop', 'web', '10.96.0.1', [member(shop, a), member(shopAtB, b)], ['shop'], 'front.example'),
  service('blog', 'web', '10.96.0.2', [member(blog, a)], ['blog']),
  service('vault', 'web', '10.96.0.3', [member(sealed, a)], ['sealed']),
  service('shop', 'big', '10.96.0.4', Array.from({ length: 100 }, (_, index) => ({ taskId: `big${index}`, nodeId: 'id-c', address: `10.64.2.${index + 2}`, slot: index + 1 })), ['shop']), // prettier-ignore
];

async function serve(node: TestNode): Promise<void> {
  const desired = { network: net.unit('sealed'), services: services() };
  await node.call('apply', desired);
  await node.call('serve names', desired);
}

async function ask(namespace: string, name: string, type = 'A', transport = 'udp', server = a.overlayAddress): Promise<Heard> {
  const { stdout } = await inside(namespace, process.execPath, join(net.folder, 'dns-client.mjs'), server, name, type, transport); // prettier-ignore
  return JSON.parse(stdout) as Heard;
} // prettier-ignore

/** As a program in a container does, by the C library and a container's `resolv.conf`. */
async function lookUp(at: Attachment, database: 'ahostsv4' | 'hosts', name: string): Promise<readonly string[]> {
  const file = join(net.folder, 'resolv.conf');
  const script = `mount --bind ${file} /etc/resolv.conf && exec getent ${database} ${name}`;
  const { stdout } = await inside(at.namespace, 'unshare', '--mount', 'sh', '-c', script);
  return stdout.split('\n').filter((line) => line !== '' && !/ (DGRAM|RAW)/.test(line)).map((line) => line.replace(/ +(STREAM)? */, ' ').trim()); // prettier-ignore
}

beforeAll(async () => {
  await net.start();
  const program = join(net.folder, 'dns-resolver.mjs');
  resolver = spawn('nsenter', [`--net=/run/netns/${switchNamespace}`, process.execPath, program, switchAddress]);
  await once(resolver.stdout, 'data');
  resolver.stdout.on('data', (chunk: Buffer) => asked.push(...chunk.toString().trim().split('\n')));
  await writeFile(join(net.folder, 'resolv.conf'), renderResolvConf('search corp.example\n', a.overlayAddress));
  shop = await a.attach('shop1', 'shop');
  shopAtB = await b.attach('shop2', 'shop');
  blog = await a.attach('blog1', 'blog');
  sealed = await a.attach('sealed1', 'sealed');
  await serve(a);
  await serve(b);
});
afterAll(async () => {
  resolver.kill('SIGKILL');
  await net.stop();
});

describe('the name server of a node', () => {
  it('answers its containers, each as its networks have it', async () => {
    expect(await ask(shop.namespace, 'web')).toEqual({ code: 'NOERROR', truncated: false, data: ['10.96.0.1'] });
    expect((await ask(shop.namespace, 'front.example', 'A', 'tcp')).data).toEqual(['10.96.0.1']);
    expect((await ask(blog.namespace, 'web')).data).toEqual(['10.96.0.2']);
    expect((await ask(sealed.namespace, 'web')).data).toEqual(['10.96.0.3']);
    expect((await ask(shop.namespace, 'tasks.web')).data.toSorted()).toEqual(['10.64.0.2', '10.64.1.2']);
    for (const name of ['blog_web', 'blog1', 'tasks.blog_web']) {
      expect((await ask(shop.namespace, name)).code, name).toBe('NXDOMAIN');
    }
    expect(await ask(shop.namespace, '3.0.64.10.in-addr.arpa', 'PTR')).toMatchObject({ code: 'NXDOMAIN', data: [] });
  });

  it('knows a container from the moment it is attached', async () => {
    const fresh = await a.attach('fresh', 'shop');
    expect((await ask(fresh.namespace, 'web')).data).toEqual(['10.96.0.1']);
    await a.call('detach', 'fresh');
  });

  it('is reached by nobody else: not by other nodes and their containers, nor from around, nor the node itself', async () => {
    await inside(switchNamespace, 'ip', 'route', 'add', `${a.overlayAddress}/32`, 'via', a.address);
    for (const from of [a.namespace, b.namespace, switchNamespace]) {
      for (const transport of ['udp', 'tcp']) {
        expect((await ask(from, 'web', 'A', transport)).code, `${from} ${transport}`).toBe('silence');
      }
    }
    expect((await ask(shopAtB.namespace, 'web')).code).toBe('ECONNREFUSED');
    expect((await ask(shopAtB.namespace, 'web', 'A', 'udp', b.overlayAddress)).data).toEqual(['10.96.0.1']);
    await inside(switchNamespace, 'ip', 'route', 'delete', `${a.overlayAddress}/32`);
  });

  it('leaves nothing in the kernel’s table of connections', async () => {
    await inside(a.namespace, 'conntrack', '-F');
    for (const transport of ['udp', 'tcp']) expect((await ask(shop.namespace, 'web', 'A', transport)).code).toBe('NOERROR'); // prettier-ignore
    const { stdout } = await inside(a.namespace, 'conntrack', '-L');
    expect(stdout).not.toContain('dport=53');
  });
});

describe('the C library', () => {
  it('finds services, aliases, tasks, and names for addresses', async () => {
    expect(await lookUp(shop, 'ahostsv4', 'web')).toEqual(['10.96.0.1 web']);
    expect(await lookUp(shop, 'ahostsv4', 'web.shop')).toEqual(['10.96.0.1 web.shop']);
    expect(await lookUp(shop, 'ahostsv4', 'front.example')).toEqual(['10.96.0.1 front.example']);
    expect(await lookUp(shop, 'ahostsv4', 'shop2')).toEqual(['10.64.1.2 shop2']);
    expect(await lookUp(shop, 'hosts', '10.64.1.2')).toEqual(['10.64.1.2 shop-web-1']);
    expect(await lookUp(shop, 'hosts', '10.96.0.1')).toEqual(['10.96.0.1 shop_web']);
  });

  it('comes over TCP for an answer that does not fit', async () => {
    expect((await ask(shop.namespace, 'tasks.big')).truncated).toBe(true);
    const lines = await lookUp(shop, 'ahostsv4', 'tasks.big');
    expect(new Set(lines.map((line) => line.split(' ')[0])).size).toBe(100);
    expect(new Set((await lookUp(shop, 'ahostsv4', 'long.example')).map((line) => line.split(' ')[0])).size).toBe(100);
  });

  it('is led to the world by the node’s resolvers, and with what is ours never', async () => {
    asked.length = 0;
    expect(await lookUp(shop, 'ahostsv4', 'www.example.org')).toEqual(['203.0.113.5 www.example.org']);
    expect((await lookUp(blog, 'hosts', '192.0.2.9')).length).toBe(0);
    expect(asked).toEqual(['www.example.org', '9.2.0.192.in-addr.arpa']);
    asked.length = 0;
    await lookUp(shop, 'ahostsv4', 'blog_web');
    await lookUp(shop, 'ahostsv4', 'gone.shop');
    // Under the node's search domains it is a name of the world.
    expect(new Set(asked)).toEqual(new Set(['blog_web.corp.example', 'gone.shop.corp.example']));
    asked.length = 0;
    expect((await ask(sealed.namespace, 'secret.example.org')).code).toBe('NXDOMAIN');
    expect((await ask(sealed.namespace, '9.2.0.192.in-addr.arpa', 'PTR')).code).toBe('NXDOMAIN');
    expect(asked).toEqual([]);
  });
});

describe('while the agent is away', () => {
  it('questions meet silence and no refusal, so that they are asked again and answered by the next agent', async () => {
    await a.kill();
    expect((await ask(shop.namespace, 'web')).code).toBe('silence');
    expect(await get(shop.namespace, `${a.overlayAddress}:9999`)).toBe('failed 7 at once');
    const startedAt = performance.now();
    const found = lookUp(shop, 'ahostsv4', 'front.example');
    await delay(1_500);
    await a.start();
    // Before its rules are made anew: where the earlier one left its address.
    await a.call('serve names', { network: net.unit('sealed'), services: services() });
    expect(await found).toEqual(['10.96.0.1 front.example']);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await serve(a);
    expect((await ask(shop.namespace, 'web')).data).toEqual(['10.96.0.1']);
  });

  it('an overlay that was taken away comes back with the server at its place', async () => {
    await inside(a.namespace, 'ip', 'link', 'delete', 'frota0');
    await a.call('repair');
    expect((await ask(shop.namespace, 'web')).data).toEqual(['10.96.0.1']);
  });
});
