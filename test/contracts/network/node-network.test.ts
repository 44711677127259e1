import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Attachment } from '../../../agent/network/network.ts';
import type { Endpoint, ServiceUnit } from '../../../proto/domain/assignment.ts';
import {
  TestNetwork,
  ask,
  get,
  inside,
  leftovers,
  outsideAddress,
  switchAddress,
  switchNamespace,
} from './test-nodes.ts';
import type { TestNode } from './test-nodes.ts';

const webVip = '10.96.0.1';
const emptyVip = '10.96.0.2';
const soloVip = '10.96.0.3';

interface Container {
  readonly node: TestNode;
  readonly name: string;
  readonly at: Attachment;
}

const net = new TestNetwork();
const [a, b, c] = net.nodes as [TestNode, TestNode, TestNode];
const containers = new Map<string, Container>();
const stops = new Map<string, () => Promise<void>>();
const clients: ChildProcessWithoutNullStreams[] = [];

async function run(node: TestNode, name: string): Promise<Container> {
  const container = { node, name, at: await node.attach(name) };
  containers.set(name, container);
  stops.set(name, await net.serve(container.at, name));
  return container;
}

const one = (name: string): Container => containers.get(name)!;
const endpoint = (name: string): Endpoint => ({
  taskId: name,
  nodeId: `id-${one(name).node.name}`,
  address: one(name).at.address,
  slot: 1,
});

function services(webEndpoints: readonly string[]): readonly ServiceUnit[] {
  const networks = [{ network: 'hello_default', aliases: [] }];
  const base = { kind: 'service', stack: 'hello', networks, members: [...containers.keys()].map(endpoint) } as const;
  const udp = { target: 7001, published: 5353, protocol: 'udp' } as const;
  return [
    {
      ...base,
      name: 'web',
      vip: webVip,
      ports: [
        { target: 80, published: 8080, protocol: 'tcp' },
        { target: 7000, published: 7070, protocol: 'tcp' },
        udp,
      ],
      endpoints: webEndpoints.map(endpoint),
    },
    {
      ...base,
      name: 'empty',
      vip: emptyVip,
      ports: [
        { target: 80, published: 8081, protocol: 'tcp' },
        { target: 80, published: 8081, protocol: 'udp' },
      ],
      endpoints: [],
    },
    {
      ...base,
      name: 'solo',
      vip: soloVip,
      ports: [{ target: 80, published: 8082, protocol: 'tcp' }],
      endpoints: [endpoint('a2')],
    },
  ];
}

/** Who answers, over `count` connections. */
async function spread(namespace: string, host: string, count = 24): Promise<ReadonlySet<string>> {
  const answers = await Promise.all(Array.from({ length: count }, () => get(namespace, host)));
  return new Set(answers.map((answer) => answer.split(' ')[0] ?? ''));
}

/** A connection that stays open; `echo` sends a line and returns the answer or what became of the connection. */
function openConnection(namespace: string, host: string, port: number) {
  const path = namespace.startsWith('/') ? namespace : `/run/netns/${namespace}`;
  const client = spawn('nsenter', [`--net=${path}`, 'busybox', 'nc', host, String(port)]);
  clients.push(client);
  const ended = once(client, 'exit').then(() => 'ended');
  return {
    async echo(text: string): Promise<string> {
      const answer = once(client.stdout, 'data').then(([chunk]) => (chunk as Buffer).toString().trim());
      client.stdin.write(`${text}\n`);
      return Promise.race([answer, ended, delay(4000, 'silent')]);
    },
    end: () => client.kill('SIGKILL'),
  };
}

const all = ['a1', 'b1', 'c1'];
const timings: string[] = [];

beforeAll(async () => {
  await net.start();
  for (const [node, name] of [
    [a, 'a1'],
    [a, 'a2'],
    [b, 'b1'],
    [c, 'c1'],
  ] as const)
    await run(node, name);
  await net.applyAll(services(all));
});

afterAll(async () => {
  for (const client of clients) client.kill('SIGKILL');
  await net.stop();
  if (timings.length > 0) process.stderr.write(`network timings: ${timings.join('; ')}\n`);
  if (process.env.FT_NET_LOG !== undefined)
    await writeFile(process.env.FT_NET_LOG, net.nodes.map((n) => n.log).join(''));
});

describe('containers', () => {
  it('have addresses of their node, an MTU that fits the overlay, and no IPv6 on their link', async () => {
    expect([...containers.values()].map(({ at }) => at.address)).toEqual([
      '10.64.0.2',
      '10.64.0.3',
      '10.64.1.2',
      '10.64.2.2',
    ]);
    const { stdout } = await inside(one('a1').at.namespace, 'ip', 'address', 'show', 'eth0');
    expect(stdout).toContain('mtu 1450');
    expect(stdout).toContain('inet 10.64.0.2/32');
    expect(stdout).not.toContain('inet6');
  });

  it('reach each other on one node and across nodes, and see who asks', async () => {
    for (const from of containers.values()) {
      for (const to of containers.values()) {
        expect(await get(from.at.namespace, to.at.address), `${from.name} → ${to.name}`).toBe(
          `${to.name} ${from === to ? to.at.address : from.at.address}`,
        );
      }
    }
  });

  it('carry full-sized packets between nodes', async () => {
    const { code, stdout } = await inside(
      one('a1').at.namespace,
      'busybox',
      'ping',
      '-c1',
      '-W2',
      '-s1422',
      '10.64.2.2',
    );
    expect(stdout).toContain('1 packets received');
    expect(code).toBe(0);
  });

  it('reach the world outside under their node’s address', async () => {
    const { code } = await inside(one('b1').at.namespace, 'busybox', 'ping', '-c1', '-W2', outsideAddress);
    expect(code).toBe(0);
    expect((await inside(switchNamespace, 'ip', 'route')).stdout).not.toContain('10.64');
  });

  it('cannot use an address that is not theirs', async () => {
    const { namespace } = one('a1').at;
    const target = one('b1').at.address;
    const send = (source: string) => {
      const script = `const socket = require('node:dgram').createSocket('udp4');
        socket.bind(0, '${source}', () => socket.send('x', 7001, '${target}', () => socket.close()));`;
      return inside(namespace, process.execPath, '-e', script);
    };
    const seen = async () => (await inside(namespace, 'curl', '-s', '--max-time', '3', `http://${target}/seen`)).stdout;
    for (const stranger of [one('a2').at.address, '10.64.0.77', '198.51.100.7']) {
      await inside(namespace, 'ip', 'address', 'add', `${stranger}/32`, 'dev', 'lo');
      expect((await send(stranger)).stderr).toBe('');
      await ask(namespace, target, 7001);
      expect(await seen()).toContain(one('a1').at.address);
      expect(await seen(), stranger).not.toContain(stranger);
    }
    // The same datagram does arrive once the guard is away, and the rule that lets only known senders on.
    for (const chain of ['guard', 'forwarded']) {
      await inside(a.namespace, 'nft', 'flush', 'chain', 'ip', 'frota', chain);
    }
    await send('10.64.0.77');
    await vi.waitFor(async () => expect(await seen()).toContain('10.64.0.77'), { timeout: 2000 });
    await a.call('repair');
    await inside(namespace, 'ip', 'address', 'flush', 'dev', 'lo', 'scope', 'global');
  });

  it('are not reached from the network around the nodes but through published ports', async () => {
    await inside(switchNamespace, 'ip', 'route', 'add', a.subnet, 'via', a.address);
    const answer = await get(switchNamespace, one('a1').at.address, '--max-time', '1');
    await inside(switchNamespace, 'ip', 'route', 'delete', a.subnet);
    expect(answer).toBe('failed 28');
  });
});

describe('services', () => {
  it('answer on their VIP from containers and nodes, spread over all endpoints', async () => {
    for (const from of [one('a2').at.namespace, one('b1').at.namespace, c.namespace]) {
      expect(await spread(from, webVip), from).toEqual(new Set(all));
    }
    expect(await spread(one('a2').at.namespace, `${webVip}:80`)).toEqual(new Set(all));
  });

  it('answer on published ports: loopback, own address, another node, a machine beside the cluster, a container', async () => {
    for (const [from, host] of [
      [a.namespace, '127.0.0.1:8080'],
      [b.namespace, `${b.address}:8080`],
      [c.namespace, `${a.address}:8080`],
      [switchNamespace, `${b.address}:8080`],
      [one('c1').at.namespace, `${c.address}:8080`],
      [one('c1').at.namespace, `${a.address}:8080`],
    ] as const) {
      expect(await spread(from, host), `${from} → ${host}`).toEqual(new Set(all));
    }
  });

  it('show a local endpoint the address of its client', async () => {
    expect(await get(switchNamespace, `${a.address}:8082`)).toBe(`a2 ${switchAddress}`);
    expect(await get(one('a1').at.namespace, soloVip)).toBe(`a2 ${one('a1').at.address}`);
    expect(await get(one('b1').at.namespace, soloVip)).toBe(`a2 ${one('b1').at.address}`);
    expect(await get(switchNamespace, `${c.address}:8082`)).toBe(`a2 ${c.overlayAddress}`);
  });

  it('are reached by their own endpoint', async () => {
    expect(await get(one('a2').at.namespace, soloVip)).toBe(`a2 ${a.overlayAddress}`);
    expect(await get(one('a2').at.namespace, `${a.address}:8082`)).toBe(`a2 ${a.overlayAddress}`);
  });

  it('carry UDP', async () => {
    for (const [from, host, port] of [
      [one('a2').at.namespace, webVip, 7001],
      [switchNamespace, b.address, 5353],
      [c.namespace, '127.0.0.1', 5353],
      [c.namespace, c.address, 5353],
    ] as const) {
      expect(await ask(from, host, port), `${from} → ${host}`).toMatch(/^(a1|b1|c1) /);
    }
  });

  it('refuse at once without endpoints, and so do unknown VIPs and addresses without a container', async () => {
    for (const from of [one('a1').at.namespace, b.namespace]) {
      for (const host of [emptyVip, '10.96.200.7', '10.64.1.200']) {
        expect(await get(from, host), `${from} → ${host}`).toBe('failed 7 at once');
      }
      expect(await ask(from, emptyVip, 80)).toMatch(/refused/);
    }
    for (const [from, host] of [
      [switchNamespace, a.address],
      [a.namespace, '127.0.0.1'],
      [a.namespace, a.address],
    ] as const) {
      expect(await get(from, `${host}:8081`), `${from} → ${host}`).toBe('failed 7 at once');
      expect(await ask(from, host, 8081), `${from} → ${host}`).toMatch(/refused/);
    }
  });

  it('do not open the node’s loopback to containers', async () => {
    const serve = ['busybox', 'httpd', '-f', '-p', '127.9.9.9:9000', '-h', net.folder];
    const listener = spawn('nsenter', [`--net=/run/netns/${a.namespace}`, ...serve]);
    clients.push(listener);
    const ask9000 = (namespace: string) => get(namespace, '127.9.9.9:9000', '--max-time', '1');
    await vi.waitFor(async () => expect(await ask9000(a.namespace)).toContain('404'), { timeout: 3000 });
    // A container whose own loopback is bent to lead to the node, with the kernel's guard against it switched off.
    const prober = await a.attach('prober');
    const script = `echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet
      ip route delete local 127.0.0.0/8 dev lo table local
      ip route add 127.9.9.9 via 169.254.1.1 dev eth0 src ${prober.address}`;
    expect((await inside(prober.namespace, 'sh', '-ec', script)).stderr).toBe('');
    expect(await ask9000(prober.namespace)).toBe('failed 28');
    await inside(a.namespace, 'nft', 'flush', 'chain', 'ip', 'frota', 'guard');
    expect(await ask9000(prober.namespace), 'the probe itself works').toContain('404');
    await a.call('repair');
    expect(await ask9000(prober.namespace)).toBe('failed 28');
    await a.call('detach', 'prober');
    listener.kill('SIGKILL');
  });

  it('lose an endpoint without disturbing connections to the others, and in no time', async () => {
    const open = openConnection(one('a2').at.namespace, webVip, 7000);
    const first = await open.echo('one');
    const served = first.split(' ')[0]!;
    const other = all.find((name) => name !== served)!;
    await net.applyAll(services(all.filter((name) => name !== other)));
    expect(await spread(c.namespace, webVip)).toEqual(new Set(all.filter((name) => name !== other)));
    expect(await open.echo('two')).toBe(`${served} two`);
    // Its own endpoint goes too: the container lives, so the connection may end in peace.
    await net.applyAll(services(all.filter((name) => name !== served)));
    await delay(700);
    expect(await open.echo('three')).toBe(`${served} three`);
    open.end();
    const back = await a.call('apply', { network: net.unit(), services: services(all) });
    timings.push(`one service changed ${back.ms!.toFixed(0)} ms`);
    await net.applyAll(services(all));
  });

  it('take UDP away from an endpoint that vanished', async () => {
    const { namespace } = one('a2').at;
    const script = `exec 3<>/dev/udp/${webVip}/7001; for i in 1 2 3 4 5 6; do echo x >&3; timeout 1 head -n1 <&3; sleep 0.5; done`;
    const answers = inside(namespace, 'bash', '-c', script);
    await delay(250);
    await net.applyAll(services(['a1', 'b1']));
    await delay(500);
    await net.applyAll(services(['b1']));
    const lines = (await answers).stdout.trim().split('\n');
    expect(lines.at(-1)).toMatch(/^b1 /);
    await net.applyAll(services(all));
  });
});

describe('a restarted agent', () => {
  it('finds its containers, and nobody notices', async () => {
    const open = openConnection(one('a2').at.namespace, webVip, 7000);
    const outer = openConnection(switchNamespace, a.address, 7070);
    const before = [await open.echo('one'), await outer.echo('one')].map((line) => line.split(' ')[0]);
    await a.kill();
    expect(await spread(switchNamespace, `${a.address}:8080`)).toEqual(new Set(all));
    const asking = new AbortController();
    const answers: string[] = [];
    const asker = (async () => {
      while (!asking.signal.aborted) answers.push(await get(switchNamespace, `${a.address}:8080`));
    })();
    await a.start();
    const first = await a.call('apply', { network: net.unit(), services: services(all) });
    const second = await a.call('apply', { network: net.unit(), services: services(all) });
    await a.call('repair');
    asking.abort();
    await asker;
    timings.push(
      `first apply after a restart ${first.ms!.toFixed(0)} ms, one that changes nothing ${second.ms!.toFixed(1)} ms`,
    );
    expect(answers.length).toBeGreaterThan(2);
    expect(answers.filter((answer) => answer.startsWith('failed'))).toEqual([]);
    expect(await open.echo('two')).toBe(`${before[0]!} two`);
    expect(await outer.echo('two')).toBe(`${before[1]!} two`);
    open.end();
    outer.end();
    expect((await a.list()).map((each) => each.taskId).sort()).toEqual(['a1', 'a2']);
    expect(await a.attach('a1')).toEqual(one('a1').at);
  });

  it('puts back what someone else removed', async () => {
    await inside(a.namespace, 'nft', 'delete', 'table', 'ip', 'frota');
    await inside(a.namespace, 'ip', 'link', 'delete', 'frota0');
    await inside(a.namespace, 'ip', 'link', 'delete', 'frv0a400002');
    expect(await a.attach('a1')).toEqual(one('a1').at);
    await a.call('repair');
    expect(await spread(switchNamespace, `${a.address}:8080`)).toEqual(new Set(all));
    expect(await get(one('b1').at.namespace, one('a1').at.address)).toBe(`a1 ${one('b1').at.address}`);
    // Rules that vanish unnoticed do not stop the next change.
    await inside(a.namespace, 'nft', 'delete', 'table', 'ip', 'frota');
    await a.call('apply', { network: net.unit(), services: services(['a1']) });
    expect(await spread(switchNamespace, `${a.address}:8080`, 8)).toEqual(new Set(['a1']));
    await a.call('apply', { network: net.unit(), services: services(all) });
  });

  it('removes or completes what it was making when it was killed', async () => {
    const place = { stack: 'hello', networks: ['hello_default'] };
    a.send(`${JSON.stringify({ id: 9001, op: 'attach', argument: { taskId: 'half', place } })}\n`);
    await vi.waitFor(() => expect(existsSync('/run/netns/frota-ft-net-a.half')).toBe(true), {
      timeout: 2000,
      interval: 1,
    });
    await a.kill();
    await inside(a.namespace, 'ip', 'netns', 'add', 'frota-ft-net-a.stray');
    await inside(a.namespace, 'ip', 'link', 'add', 'frv0a4000fe', 'type', 'veth', 'peer', 'name', 'frvpeer');
    await a.start();
    await a.call('apply', { network: net.unit(), services: services(all) });
    const listed = (await a.list()).map((each) => each.taskId).filter((id) => id !== 'half');
    expect(listed.sort()).toEqual(['a1', 'a2']);
    expect((await leftovers()).filter((name) => name.endsWith('stray'))).toEqual([]);
    expect((await inside(a.namespace, 'ip', 'link', 'show')).stdout).not.toContain('frv0a4000fe');
    const half = await run(a, 'half');
    await net.applyAll(services(all));
    expect(await get(one('b1').at.namespace, half.at.address)).toBe(`half ${one('b1').at.address}`);
    await stops.get('half')!();
    await a.call('detach', 'half');
    await a.call('detach', 'half');
    expect(existsSync(half.at.namespace)).toBe(false);
    expect((await a.attach('next')).address).not.toBe(half.at.address);
    await a.call('detach', 'next');
    containers.delete('half');
    await net.applyAll(services(all));
  });

  it('has a place ready before a task comes, gives it away whole, and makes anew what no task took', async () => {
    const spares = async (): Promise<readonly string[]> =>
      (await readdir('/run/netns')).filter((name) => name.startsWith('frota-ft-net-a.spare-'));
    await a.kill();
    await a.start({ spareLinks: 1 });
    await a.call('apply', { network: net.unit(), services: services(all) });
    await a.call('watch');
    const book = join(a.options.stateDir, 'leases.json');
    const inBook = async (): Promise<unknown> => expect(await readFile(book, 'utf8')).toContain('"state":"spare"');
    await vi.waitFor(inBook, { timeout: 8000, interval: 100 });
    expect((await a.list()).map((each) => each.taskId).sort()).toEqual(['a1', 'a2']);
    const taken = await spares();
    const quick = await run(a, 'quick');
    expect(quick.at.namespace).toBe(`/run/netns/${taken[0]!}`);
    await net.applyAll(services(all));
    expect(await get(one('b1').at.namespace, quick.at.address)).toBe(`quick ${one('b1').at.address}`);
    await vi.waitFor(async () => expect(await spares()).toHaveLength(2), { timeout: 8000, interval: 100 });
    await a.kill();
    await a.start();
    expect(await spares()).toEqual(taken);
    expect(await a.attach('quick')).toEqual(quick.at);
    await a.call('apply', { network: net.unit(), services: services(all) });
    await stops.get('quick')!();
    await a.call('detach', 'quick');
    expect(await spares()).toEqual([]);
    expect((await inside(a.namespace, 'ip', 'link', 'show')).stdout.match(/ frv[0-9a-f]{8}@/g)).toHaveLength(2);
    containers.delete('quick');
    await net.applyAll(services(all));
  });
});

describe('the uplink', () => {
  it('gets its routes back, and published ports reach every replica again', async () => {
    await b.call('watch');
    await inside(b.namespace, 'ip', 'route', 'add', '198.51.100.0/24', 'via', switchAddress);
    await delay(1200);
    await inside(b.namespace, 'ip', 'link', 'set', 'eth0', 'down');
    await delay(1200);
    expect((await inside(b.namespace, 'ip', 'route')).stdout).not.toContain('default');
    await inside(b.namespace, 'ip', 'link', 'set', 'eth0', 'up');
    const upAt = performance.now();
    await vi.waitFor(() => expect(b.linkBacks).toBe(1), { timeout: 5000, interval: 20 });
    timings.push(`routes back ${(performance.now() - upAt).toFixed(0)} ms after the link`);
    const { stdout } = await inside(b.namespace, 'ip', 'route');
    expect(stdout).toContain(`default via ${switchAddress} dev eth0`);
    expect(stdout).toContain(`198.51.100.0/24 via ${switchAddress} dev eth0`);
    expect(await spread(switchNamespace, `${b.address}:8080`)).toEqual(new Set(all));
    expect((await inside(one('b1').at.namespace, 'busybox', 'ping', '-c1', '-W2', outsideAddress)).code).toBe(0);
  });

  it('gets them back after a flap too short to be seen', async () => {
    await inside(b.namespace, 'bash', '-c', 'ip link set eth0 down; ip link set eth0 up');
    await vi.waitFor(() => expect(b.linkBacks).toBe(2), { timeout: 5000, interval: 20 });
    expect((await inside(b.namespace, 'ip', 'route')).stdout).toContain('default via');
  });

  it('leaves a route away that a person removed', async () => {
    await inside(b.namespace, 'ip', 'route', 'delete', '198.51.100.0/24');
    await delay(1200);
    await inside(b.namespace, 'bash', '-c', 'ip link set eth0 down; ip link set eth0 up');
    await vi.waitFor(() => expect(b.linkBacks).toBe(3), { timeout: 5000, interval: 20 });
    const { stdout } = await inside(b.namespace, 'ip', 'route');
    expect(stdout).toContain('default via');
    expect(stdout).not.toContain('198.51.100.0/24');
  });

  it('gets them back from an agent that started while it was down', async () => {
    await inside(b.namespace, 'ip', 'link', 'set', 'eth0', 'down');
    await b.kill();
    await b.start();
    await b.call('apply', { network: net.unit(), services: services(all) });
    await b.call('watch');
    await inside(b.namespace, 'ip', 'link', 'set', 'eth0', 'up');
    await vi.waitFor(() => expect(b.linkBacks).toBe(4), { timeout: 5000, interval: 20 });
    expect((await inside(b.namespace, 'ip', 'route')).stdout).toContain('default via');
    expect(await spread(one('b1').at.namespace, `${b.address}:8080`)).toEqual(new Set(all));
  });

  it('gets them back from an agent that started after it came back', async () => {
    await b.kill();
    await inside(b.namespace, 'bash', '-c', 'ip link set eth0 down; sleep 0.2; ip link set eth0 up');
    await b.start();
    expect((await inside(b.namespace, 'ip', 'route')).stdout).toContain('default via');
    await b.call('apply', { network: net.unit(), services: services(all) });
  });
});

describe('a lost node', () => {
  it('has its connections reset, so that clients come back at once', async () => {
    await net.applyAll(services(['c1']));
    const open = openConnection(one('a2').at.namespace, webVip, 7000);
    expect(await open.echo('one')).toBe('c1 one');
    await inside(c.namespace, 'ip', 'link', 'set', 'eth0', 'down');
    await a.call('apply', { network: net.unit(), services: services(['a1', 'b1']) });
    await delay(500);
    expect(await open.echo('two')).toBe('ended');
    expect(await get(one('a2').at.namespace, webVip)).toMatch(/^(a1|b1) /);
    await inside(c.namespace, 'ip', 'link', 'set', 'eth0', 'up');
  });
});

describe('measures', () => {
  it('attaches and detaches quickly', async () => {
    const attached: number[] = [];
    const detached: number[] = [];
    for (let index = 0; index < 10; index += 1) attached.push((await a.timedAttach(`m${index}`)).ms!);
    for (let index = 0; index < 10; index += 1) detached.push((await a.call('detach', `m${index}`)).ms!);
    const median = (values: number[]): string => values.sort((x, y) => x - y)[5]!.toFixed(0);
    timings.push(`attach ${median(attached)} (${attached[0]!.toFixed(0)}) ms, detach ${median(detached)} ms`);
    expect(attached[5]).toBeLessThan(1000);
  });

  it('attaches many at once', async () => {
    const ids = Array.from({ length: 8 }, (_, index) => `p${index}`);
    const made = await Promise.all(ids.map((id) => a.attach(id)));
    expect(new Set(made.map(({ address }) => address)).size).toBe(8);
    await Promise.all(ids.map((id) => a.call('detach', id)));
  });
});

describe('close', () => {
  it('leaves traffic alone, or nothing at all', async () => {
    await net.applyAll(services(all));
    await a.call('close', { removeAll: false });
    expect(await spread(switchNamespace, `${a.address}:8080`)).toEqual(new Set(all));
    await a.kill();
    await a.start();
    for (const stop of stops.values()) await stop().catch(() => undefined);
    for (const node of net.nodes) await node.call('close', { removeAll: true });
    expect((await leftovers()).filter((name) => name.startsWith('frota-'))).toEqual([]);
    for (const node of net.nodes) {
      expect((await inside(node.namespace, 'nft', 'list', 'ruleset')).stdout.trim()).toBe('');
      const links = (await inside(node.namespace, 'ip', '-o', 'link')).stdout.trim().split('\n');
      expect(links.map((line) => line.split(': ')[1]?.split('@')[0])).toEqual(['lo', 'eth0']);
      expect((await inside(node.namespace, 'ip', 'route')).stdout).not.toContain('10.');
      expect(existsSync(node.options.stateDir)).toBe(false);
    }
  });
});
