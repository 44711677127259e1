/** Several networks on two nodes: who shares one reaches the other, nobody else does, and nobody passes as somebody else. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Attachment } from '../../../agent/network/network.ts';
import type { Endpoint, ServiceUnit } from '../../../proto/domain/assignment.ts';
import type { PublishedPort } from '../../../proto/domain/service.ts';
import { TestNetwork, ask, get, inside, outsideAddress, switchNamespace } from './test-nodes.ts';
import type { TestNode } from './test-nodes.ts';

interface Container {
  readonly node: TestNode;
  readonly name: string;
  readonly networks: readonly string[];
  readonly at: Attachment;
}

const net = new TestNetwork();
const [a, b] = net.nodes as [TestNode, TestNode];
const containers = new Map<string, Container>();
const one = (name: string): Container => containers.get(name)!;

async function run(node: TestNode, name: string, ...networks: readonly string[]): Promise<Container> {
  const container = { node, name, networks, at: await node.attach(name, ...networks) };
  await net.serve(container.at, name);
  return container;
}

const endpoint = ({ name, node, at }: Container): Endpoint => ({
  taskId: name,
  nodeId: `id-${node.name}`,
  address: at.address,
  slot: 1,
});

const vips = { front: '10.96.0.1', back: '10.96.0.2', both: '10.96.0.3', sealed: '10.96.0.4' } as const;
const http = (published: number): PublishedPort => ({ target: 80, published, protocol: 'tcp' });

function service(name: keyof typeof vips, networks: readonly string[], ports: readonly PublishedPort[]): ServiceUnit {
  const its = [...containers.values()].filter((container) => container.name.startsWith(name)).map(endpoint);
  const attachments = networks.map((network) => ({ network, aliases: [] }));
  return { kind: 'service', stack: 's', name, vip: vips[name], ports, endpoints: its, members: its, networks: attachments }; // prettier-ignore
}

const services = (): readonly ServiceUnit[] => [
  service('front', ['front'], []),
  service('back', ['back'], [http(8081)]),
  service('both', ['back', 'front'], []),
  service('sealed', ['sealed'], [http(8084)]),
];

const applyTo = (...nodes: readonly TestNode[]) =>
  Promise.all(nodes.map((node) => node.call('apply', { network: net.unit('sealed'), services: services() })));

const related = (from: Container, to: Container): boolean => from.networks.some((name) => to.networks.includes(name));

beforeAll(async () => {
  await net.start();
  for (const [node, name, ...networks] of [
    [a, 'front-a', 'front'],
    [a, 'back-a', 'back'],
    [a, 'both-a', 'front', 'back'],
    [a, 'sealed-a', 'sealed'],
    [b, 'front-b', 'front'],
    [b, 'back-b', 'back'],
    [b, 'sealed-b', 'sealed'],
  ] as const)
    containers.set(name, await run(node, name, ...networks));
  await applyTo(...net.nodes);
});
afterAll(() => net.stop());

describe('containers', () => {
  it('reach those they share a network with, on their node and across, and are refused by the others at once', async () => {
    for (const from of containers.values()) {
      for (const to of containers.values()) {
        const answer = await get(from.at.namespace, to.at.address);
        const expected = related(from, to) ? `${to.name} ${from.at.address}` : 'failed 7 at once';
        expect(answer, `${from.name} → ${to.name}`).toBe(expected);
      }
    }
    expect(await ask(one('front-a').at.namespace, one('back-b').at.address, 7001)).toMatch(/refused/);
  });

  it('reach a service by its VIP under the same rule', async () => {
    for (const from of containers.values()) {
      for (const to of services()) {
        const open = to.networks.some(({ network }) => from.networks.includes(network));
        const answer = await get(from.at.namespace, to.vip);
        if (open) expect(answer, `${from.name} → ${to.name}`).toMatch(new RegExp(`^${to.name}-`));
        else expect(answer, `${from.name} → ${to.name}`).toBe('failed 7 at once');
      }
    }
  });

  it('are in their networks from the moment they are attached, whatever the controllers know', async () => {
    const fresh = await run(a, 'front-fresh', 'front');
    expect(await get(fresh.at.namespace, one('front-b').at.address)).toBe(`front-b ${fresh.at.address}`);
    expect(await get(fresh.at.namespace, one('front-a').at.address)).toBe(`front-a ${fresh.at.address}`);
    expect(await get(one('front-a').at.namespace, fresh.at.address)).toBe(`front-fresh ${one('front-a').at.address}`);
    expect(await get(fresh.at.namespace, one('back-b').at.address)).toBe('failed 7 at once');
    await a.call('detach', 'front-fresh');
    expect(await get(one('front-a').at.namespace, fresh.at.address)).toBe('failed 7 at once');
  });
});

describe('published ports', () => {
  it('are for everybody outside, and for containers of other networks', async () => {
    for (const host of [a.address, b.address]) {
      for (const from of [switchNamespace, a.namespace, one('front-a').at.namespace, one('front-b').at.namespace]) {
        const seen = new Set<string>();
        for (let round = 0; round < 12; round += 1) {
          seen.add((await get(from, `${host}:8081`)).split(' ')[0]!);
        }
        expect(seen, `${from} → ${host}`).toEqual(new Set(['back-a', 'back-b']));
      }
    }
  });

  it('are not there for a service on internal networks only', async () => {
    for (const from of [switchNamespace, a.namespace, one('front-a').at.namespace]) {
      expect(await get(from, `${a.address}:8084`), from).toBe('failed 7 at once');
    }
  });

  it('are the only way in from the network around the nodes', async () => {
    await inside(switchNamespace, 'ip', 'route', 'add', '10.64.0.0/10', 'via', a.address);
    for (const host of [one('front-a').at.address, one('front-b').at.address, vips.front]) {
      expect(await get(switchNamespace, host, '--max-time', '1'), host).toBe('failed 28');
    }
    await inside(switchNamespace, 'ip', 'route', 'delete', '10.64.0.0/10');
  });
});

describe('an internal network', () => {
  it('has no way out: not to the world, not to the node, not by published ports', async () => {
    const { namespace } = one('sealed-a').at;
    for (const host of [outsideAddress, a.address, b.address, a.overlayAddress, '169.254.1.1']) {
      const sealed = await inside(namespace, 'busybox', 'ping', '-c1', '-W1', host);
      expect(sealed.code, host).not.toBe(0);
    }
    expect((await inside(one('front-a').at.namespace, 'busybox', 'ping', '-c1', '-W2', outsideAddress)).code).toBe(0);
    for (const host of [`${a.address}:8081`, `${b.address}:8081`, outsideAddress]) {
      expect(await get(namespace, host), host).toBe('failed 7 at once');
    }
  });

  it('opens when it no longer is one', async () => {
    await a.call('apply', { network: net.unit(), services: services() });
    const { namespace } = one('sealed-a').at;
    expect((await inside(namespace, 'busybox', 'ping', '-c1', '-W2', outsideAddress)).code).toBe(0);
    expect(await get(switchNamespace, `${a.address}:8084`)).toMatch(/^sealed-/);
    await applyTo(a);
    expect((await inside(namespace, 'busybox', 'ping', '-c1', '-W1', outsideAddress)).code).not.toBe(0);
  });
});

describe('a node whose own rules fail', () => {
  afterAll(() => a.call('repair'));
  const seen = async () => (await inside(one('back-b').at.namespace, 'curl', '-s', 'http://127.0.0.1/seen')).stdout;
  const send = (source: string, target: string) => {
    const script = `const socket = require('node:dgram').createSocket('udp4');
      socket.bind(0, '${source}', () => socket.send('x', 7001, '${target}', () => socket.close()));`;
    return inside(a.namespace, process.execPath, '-e', script);
  };

  it('is stopped where its packets arrive: known members of other networks, addresses of the receiver’s node', async () => {
    const target = one('back-b').at.address;
    await inside(a.namespace, 'nft', 'flush', 'chain', 'ip', 'frota', 'forwarded');
    expect(await get(one('back-a').at.namespace, target)).toBe(`back-b ${one('back-a').at.address}`);
    expect(await get(one('front-a').at.namespace, target, '--max-time', '1')).toBe('failed 28');
    // As a stranger it is let in: its own node is the one who knows where it belongs.
    const stranger = await run(a, 'stranger', 'front');
    expect(await get(stranger.at.namespace, target)).toBe(`back-b ${stranger.at.address}`);
    await a.call('detach', 'stranger');
    // The node itself sends as somebody on the other node.
    const claimed = '10.64.1.250';
    await inside(a.namespace, 'ip', 'address', 'add', `${claimed}/32`, 'dev', 'lo');
    expect((await send(claimed, target)).stderr).toBe('');
    await ask(one('back-a').at.namespace, target, 7001);
    expect(await seen()).toContain(one('back-a').at.address);
    expect(await seen()).not.toContain(claimed);
    // The same datagram does arrive once the receiver's guard is away.
    for (const chain of ['guard', 'forwarded']) {
      await inside(b.namespace, 'nft', 'flush', 'chain', 'ip', 'frota', chain);
    }
    await send(claimed, target);
    await vi.waitFor(async () => expect(await seen()).toContain(claimed), { timeout: 2000 });
    await b.call('repair');
    await inside(a.namespace, 'ip', 'address', 'delete', `${claimed}/32`, 'dev', 'lo');
  });
});

describe('a restarted agent', () => {
  it('keeps the networks apart, also for containers of which nothing was recorded', async () => {
    const matrix = async () => {
      expect(await get(one('front-a').at.namespace, one('front-b').at.address)).toMatch(/^front-b /);
      expect(await get(one('front-b').at.namespace, one('front-a').at.address)).toMatch(/^front-a /);
      expect(await get(one('front-a').at.namespace, one('back-a').at.address)).toBe('failed 7 at once');
      expect(await get(one('front-a').at.namespace, one('back-b').at.address)).toBe('failed 7 at once');
      expect(await get(one('sealed-a').at.namespace, outsideAddress)).toBe('failed 7 at once');
    };
    await a.kill();
    await matrix();
    await a.start();
    await matrix();
    await applyTo(a);
    await matrix();
    await a.kill();
    const path = join(a.options.stateDir, 'leases.json');
    const record = JSON.parse(await readFile(path, 'utf8')) as { tasks: Record<string, { place?: unknown }> };
    for (const lease of Object.values(record.tasks)) delete lease.place;
    await writeFile(path, JSON.stringify(record));
    await a.start();
    await applyTo(a);
    await matrix();
  });

  it('gives an address without the connections of whoever had it before', async () => {
    const next = '10.64.0.100';
    const path = join(a.options.stateDir, 'leases.json');
    await a.kill();
    const record = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    await writeFile(path, JSON.stringify({ ...record, cursor: '10.64.0.99' }));
    await a.start();
    await applyTo(a);
    const listed = async () => (await inside(a.namespace, 'conntrack', '-L', '-p', 'tcp')).stdout;
    const made = await inside(a.namespace, 'conntrack', '-I', '-p', 'tcp', '-s', next, '-d', one('back-b').at.address, '--sport', '4000', '--dport', '7000', '--state', 'ESTABLISHED', '-u', 'SEEN_REPLY,ASSURED', '-t', '600'); // prettier-ignore
    expect(made.code, made.stderr).toBe(0);
    expect(await listed()).toContain(`src=${next}`);
    expect((await a.attach('heir', 'front')).address).toBe(next);
    expect(await listed()).not.toContain(`src=${next}`);
    await a.call('detach', 'heir');
  });
});
