/** The first voyage: a Compose file becomes running containers on three nodes; change, scale, look, remove. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answers, eventually, httpGet, must, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox, serveCommand } from './images.ts';

let cluster: TestCluster;
let image = '';

const compose = (webCommand = serveCommand(8080, 'counter:8000')): string => `
name: hello
services:
  web:
    image: ${image}
    command: ["sh", "-c", ${JSON.stringify(webCommand)}]
    ports: ["8080:8080"]
    stop_grace_period: 1s
    deploy: {replicas: 3}
  counter:
    image: ${image}
    stop_grace_period: 1s
    command: ["sh", "-c", ${JSON.stringify(serveCommand(8000))}]
`;

beforeAll(async () => {
  cluster = await startTestCluster('voyage');
  image = await pushBusybox(cluster.registry);
});
afterAll(() => stopTestCluster(cluster));

describe('the first voyage', () => {
  it('has three ready nodes with addresses the host reaches', async () => {
    const nodes = await cluster.nodes();
    expect(nodes.map(({ name, state, availability }) => [name, state, availability])).toEqual([
      ['n1', 'ready', 'active'],
      ['n2', 'ready', 'active'],
      ['n3', 'ready', 'active'],
    ]);
    expect(nodes.every((node) => node.capacity.memoryBytes > 0 && node.capacity.cpuMillis >= 1000)).toBe(true);
    for (const node of nodes) expect(await must('ip', ['route', 'get', node.address])).toContain('dev fro');
  });

  it('runs what the file declares, spread over the nodes', async () => {
    const applied = await cluster.apply(compose(), '--wait', '--timeout', '60s', '-o', 'json');
    expect(applied.code, applied.stderr).toBe(0);
    expect(JSON.parse(applied.stdout)).toMatchObject({ changed: true });
    const tasks = await cluster.tasks();
    expect(tasks.map(({ service, slot, state }) => [service, slot, state])).toEqual([
      ['counter', 1, 'running'],
      ['web', 1, 'running'],
      ['web', 2, 'running'],
      ['web', 3, 'running'],
    ]);
    const web = tasks.filter((task) => task.service === 'web');
    expect(new Set(web.map((task) => task.node))).toEqual(new Set(['n1', 'n2', 'n3']));
    for (const task of tasks) {
      expect(task).toMatchObject({ desiredState: 'running', health: 'none', restarts: 0, exitCode: null });
      expect(task.image).toContain(image);
      expect(task.address).toMatch(/^10\./);
      expect(Date.parse(task.startedAt ?? '')).toBeGreaterThan(Date.now() - 120_000);
    }
    expect(await cluster.services()).toMatchObject([
      { stack: 'hello', name: 'counter', mode: 'replicated', replicas: { desired: 1, running: 1 } },
      { stack: 'hello', name: 'web', replicas: { desired: 3, running: 3 }, ports: [{ published: 8080, target: 8080, protocol: 'tcp' }] }, // prettier-ignore
    ]);
  });

  it('answers on the published port of every node, from every replica, and finds its neighbour by name', async () => {
    const ids = new Set((await cluster.tasks('hello/web')).map((task) => task.id));
    const counter = (await cluster.tasks('counter'))[0]?.id;
    for (const node of await cluster.nodes()) {
      await eventually(async () => {
        expect(await answers(`http://${node.address}:8080/`, 30)).toEqual(ids);
      });
      expect((await httpGet(`http://${node.address}:8080/cgi-bin/peer`, 5_000)).trim()).toBe(counter);
    }
    // From a node itself, through its own loopback address.
    const fromNode = await must('nsenter', ['--net=/run/netns/frota-test-voyage-n2', 'busybox', 'wget', '-q', '-O', '-', 'http://127.0.0.1:8080/']); // prettier-ignore
    expect(ids.has(fromNode.trim())).toBe(true);
  });

  it('changes nothing when applied again', async () => {
    const before = await cluster.tasks();
    const again = await cluster.apply(compose(), '--wait', '-o', 'json');
    expect(JSON.parse(again.stdout)).toMatchObject({ changed: false });
    expect(await cluster.tasks()).toEqual(before);
  });

  it('scales up and down without touching what runs', async () => {
    const before = new Map((await cluster.tasks('web')).map((task) => [task.slot, task.id]));
    expect((await cluster.frota('scale', 'web=5', '--wait')).code).toBe(0);
    const five = await cluster.tasks('hello_web');
    expect(five.map((task) => task.slot)).toEqual([1, 2, 3, 4, 5]);
    for (const task of five) if (before.has(task.slot)) expect(task.id).toBe(before.get(task.slot));
    expect((await cluster.frota('scale', 'hello/web=2', '--wait')).code).toBe(0);
    const two = await cluster.tasks('hello/web');
    expect(two.map((task) => task.id)).toEqual([before.get(1), before.get(2)]);
    const [node] = await cluster.nodes();
    await eventually(async () => {
      expect(await answers(`http://${node?.address ?? ''}:8080/`, 10)).toEqual(new Set(two.map((task) => task.id)));
    });
    expect((await cluster.frota('scale', 'web=3', '--wait')).code).toBe(0);
  });

  it('replaces only what a new version of the file changes', async () => {
    const before = await cluster.tasks();
    const changed = compose().replace('web:\n', 'web:\n    environment: {COLOUR: blue}\n');
    const result = await cluster.apply(changed, '--wait', '--timeout', '90s', '-o', 'json');
    expect(result.code, result.stderr).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({ updated: ['web'], unchanged: ['counter'] });
    const after = await cluster.tasks();
    const ids = (tasks: typeof after, service: string) => tasks.filter((task) => task.service === service).map((task) => task.id); // prettier-ignore
    expect(ids(after, 'counter')).toEqual(ids(before, 'counter'));
    for (const id of ids(after, 'web')) expect(ids(before, 'web')).not.toContain(id);
  });

  it('keeps what is there when cluster up runs again', async () => {
    const before = await cluster.tasks();
    expect((await cluster.up()).code).toBe(0);
    expect(await cluster.tasks()).toEqual(before);
  });

  it('removes a stack without a trace', async () => {
    expect((await cluster.frota('rm', 'hello', '--wait')).code).toBe(0);
    expect(await cluster.tasks()).toEqual([]);
    expect(await cluster.services()).toEqual([]);
    await eventually(async () => {
      const namespaces = await must('ip', ['netns', 'list']);
      // Nodes and controller stay, and up to two networks that each node keeps ready for the next tasks.
      const containers = namespaces.split('\n').filter((line) => line.includes('test-voyage') && !/-(?:c1|n\d+)(?:\.spare-[0-9a-f]{12})?(?: |$)/.test(line)); // prettier-ignore
      expect(namespaces.match(/test-voyage-n\d+\.spare-/g)?.length ?? 0).toBeLessThanOrEqual(
        2 * (await cluster.nodes()).length,
      );
      expect(containers).toEqual([]);
      const [node] = await cluster.nodes();
      await expect(httpGet(`http://${node?.address ?? ''}:8080/`)).rejects.toThrow();
    });
  });
});
