/** Where and whether tasks run, on real nodes: labels, global services, drains, dependencies, health, volumes, restart policies. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TaskView } from '../../proto/domain/views.ts';
import { eventually, killPid, must, pidOfPart, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox } from './images.ts';

let cluster: TestCluster;
let image = '';

beforeAll(async () => {
  cluster = await startTestCluster('placement');
  image = await pushBusybox(cluster.registry);
});
afterAll(() => stopTestCluster(cluster));

const forever = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]; // prettier-ignore
/** A service in flow style, with what is said of it besides its image. */
const service = (name: string, parts: object): string =>
  `  ${name}: ${JSON.stringify({ image, command: forever, stop_grace_period: '2s', ...parts })}\n`;
const stack = (name: string, ...services: readonly string[]): string =>
  `name: ${name}\nservices:\n${services.join('').replaceAll('$', '$$$$')}`;

async function applied(text: string, ...args: readonly string[]): Promise<void> {
  const result = await cluster.apply(text, ...args);
  expect(result.code, result.stderr).toBe(0);
}
async function frota(...args: readonly string[]): Promise<void> {
  const result = await cluster.frota(...args);
  expect(result.code, result.stderr).toBe(0);
}
const placesOf = (tasks: readonly TaskView[]): readonly (string | null)[] => tasks.map(({ node }) => node).sort();
const runningOn = async (name: string): Promise<readonly (string | null)[]> =>
  placesOf(
    (await cluster.tasks(name)).filter(({ state, desiredState }) => state === 'running' && desiredState === 'running'),
  );
const waited = ['--wait', '--timeout', '60s'] as const;

describe('labels', () => {
  it('choose nodes and bound tasks on them; what is missing is said, and mended by a label', async () => {
    await frota('node', 'label', 'n1', 'zone=north');
    await frota('node', 'label', 'n2', 'zone=North', 'disk=ssd');
    const deploy = {
      replicas: 3,
      placement: { constraints: ['node.labels.zone == north'], max_replicas_per_node: 1 },
    };
    await applied(stack('zones', service('web', { deploy })));
    await eventually(async () => {
      expect(await runningOn('zones/web')).toEqual(['n1', 'n2']);
    }, 60_000);
    const pending = (await cluster.tasks('zones/web')).find(({ node }) => node === null);
    expect(pending?.reason).toBe(
      '0/3 nodes fit: 2 have as many of its tasks as max_replicas_per_node allows (1), 1 doesn\'t match "node.labels.zone == north"',
    );
    await frota('node', 'label', 'n3', 'zone=north');
    await eventually(async () => {
      expect(await runningOn('zones/web')).toEqual(['n1', 'n2', 'n3']);
    }, 30_000);
  });

  it('that are taken away have the tasks leave, the replacement first, as far as there is another place', async () => {
    await frota('scale', 'zones/web=2', ...waited);
    await frota('node', 'label', 'n3', 'zone=north');
    const [first] = await runningOn('zones/web');
    const free = ['n1', 'n2', 'n3'].filter((node) => node !== first);
    await frota('node', 'label', first ?? '', 'zone-');
    await eventually(async () => {
      expect(await runningOn('zones/web')).toEqual(free);
      expect((await cluster.tasks('zones/web')).length).toBe(2);
    }, 30_000);
    const left = (await cluster.tasks('zones/web', '--all')).find(
      (task) => task.node === first && task.state === 'shutdown',
    );
    expect(left?.reason).toBe(`node ${first ?? ''} doesn't match "node.labels.zone == north"`);
    await frota('rm', 'zones', ...waited);
  });
});

describe('a global service', () => {
  it('has one task on each node, as nodes are drained, lost and come back', async () => {
    await applied(stack('probe', service('agent', { deploy: { mode: 'global' } })), ...waited);
    expect(await runningOn('probe/agent')).toEqual(['n1', 'n2', 'n3']);
    const slots = new Map((await cluster.tasks('probe/agent')).map(({ node, slot }) => [node, slot]));
    await frota('node', 'drain', 'n3', ...waited);
    expect(await runningOn('probe/agent')).toEqual(['n1', 'n2']);
    expect((await cluster.services())[0]?.replicas).toEqual({ desired: 2, running: 2 });
    await frota('node', 'activate', 'n3');
    await must('ip', ['-n', 'frota-test-placement-n2', 'link', 'set', 'eth0', 'down']);
    await eventually(async () => {
      expect(await runningOn('probe/agent')).toEqual(['n1', 'n3']);
    }, 30_000);
    await must('ip', ['-n', 'frota-test-placement-n2', 'link', 'set', 'eth0', 'up']);
    await eventually(async () => {
      expect(await runningOn('probe/agent')).toEqual(['n1', 'n2', 'n3']);
    }, 30_000);
    for (const { node, slot } of await cluster.tasks('probe/agent')) expect(slot).toBe(slots.get(node));
    expect((await cluster.frota('scale', 'probe/agent=5')).stderr).toContain('is global');
    await frota('rm', 'probe', ...waited);
  });
});

describe('drain --wait', () => {
  it('ends with the reasons where something has no other place', async () => {
    const deploy = { placement: { constraints: ['node.hostname == n1'] } };
    await applied(stack('stay', service('app', { deploy })), ...waited);
    const [task] = await cluster.tasks('stay/app');
    const refused = await cluster.frota('node', 'drain', 'n1', '--wait', '--timeout', '3s');
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain('not empty after 3 s: n1');
    expect(refused.stderr).toContain('stay/app.1: running on n1: its replacement waits: 0/3 nodes fit: 2 don\'t match "node.hostname == n1", 1 is drained'); // prettier-ignore
    await frota('node', 'activate', 'n1');
    await eventually(async () => {
      expect((await cluster.tasks('stay/app')).map(({ id, state }) => [id, state])).toEqual([[task?.id, 'running']]);
    });
    await frota('rm', 'stay', ...waited);
  });
});

describe('depends_on', () => {
  const on = (node: string) => ({ placement: { constraints: [`node.hostname == ${node}`] } });

  it('holds back the first start until what it waits for has completed, on another node; an update does not wait', async () => {
    const once = (command: string) =>
      service('migrate', { command: ['sh', '-c', command], restart: 'no', deploy: on('n1') });
    const web = (version: string) =>
      service('web', {
        environment: { VERSION: version },
        deploy: on('n2'),
        depends_on: { migrate: { condition: 'service_completed_successfully' } },
      });
    await applied(stack('order', once('sleep 3; exit 0'), web('1')));
    await eventually(async () => {
      expect((await cluster.tasks('order/web'))[0]?.reason).toBe('waits for migrate to complete (0/1)');
    });
    await eventually(async () => {
      expect(await runningOn('order/web')).toEqual(['n2']);
    }, 30_000);
    const [migrate] = await cluster.tasks('order/migrate', '--all');
    const [first] = await cluster.tasks('order/web');
    expect(migrate).toMatchObject({ state: 'complete', node: 'n1', exitCode: 0 });
    expect(Date.parse(first?.startedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(migrate?.since ?? ''));
    // Now it fails, and is no longer asked.
    await applied(stack('order', once('exit 3'), web('2')));
    await eventually(async () => {
      const [task] = await cluster.tasks('order/web');
      expect([task?.state, task?.id === first?.id]).toEqual(['running', false]);
    }, 30_000);
    await frota('rm', 'order', ...waited);
  });

  it('says that it waits for nothing when the other has failed for good', async () => {
    const failing = service('migrate', { command: ['sh', '-c', 'exit 3'], restart: 'no' });
    const web = service('web', { depends_on: { migrate: { condition: 'service_completed_successfully' } } });
    await applied(stack('failed', failing, web));
    await eventually(async () => {
      expect((await cluster.tasks('failed/web'))[0]?.reason).toBe(
        'waits for migrate to complete (0/1): it ended with exit code 3 and is not started again',
      );
    }, 30_000);
    await frota('rm', 'failed', ...waited);
  });
});

describe('health', () => {
  it('of a service on another node is waited for once; when it fails, the task is replaced and nobody else', async () => {
    const life = 'sleep 3; touch /tmp/ready; sleep 8; rm /tmp/ready; while :; do sleep 1; done';
    const db = service('db', {
      command: ['sh', '-c', life],
      healthcheck: { test: ['CMD-SHELL', 'test -f /tmp/ready'], interval: '500ms', start_period: '30s', retries: 2 },
      deploy: { placement: { constraints: ['node.hostname == n1'] } },
    });
    const web = service('web', {
      depends_on: { db: { condition: 'service_healthy' } },
      deploy: { placement: { constraints: ['node.hostname == n2'] } },
    });
    await applied(stack('health', db, web));
    await eventually(async () => {
      expect((await cluster.tasks('health/web'))[0]?.reason).toBe('waits for db to be healthy (0/1)');
    });
    const [first] = await cluster.tasks('health/db');
    await eventually(async () => {
      expect(await runningOn('health/web')).toEqual(['n2']);
    }, 30_000);
    const [started] = await cluster.tasks('health/web');
    await eventually(async () => {
      const sick = (await cluster.tasks('health/db', '--all')).find(({ id }) => id === first?.id);
      expect(sick).toMatchObject({ state: 'shutdown' });
      expect(sick?.reason).toMatch(/^unhealthy: 2 checks failed/);
      expect((await cluster.tasks('health/db')).map(({ restarts, state }) => [restarts, state])).toEqual([
        [1, 'running'],
      ]);
    }, 90_000);
    expect((await cluster.tasks('health/web')).map(({ id }) => id)).toEqual([started?.id]);
    await frota('rm', 'health', ...waited);
  });
});

describe('a slot with a named volume', () => {
  it('waits for its node and goes back there', async () => {
    const text = `${stack('pinned', service('db', { volumes: ['kept:/data'] }))}volumes: {kept: {}}\n`;
    await applied(text, ...waited);
    const [home = ''] = await runningOn('pinned/db');
    await must('ip', ['-n', `frota-test-placement-${home ?? ''}`, 'link', 'set', 'eth0', 'down']);
    await eventually(async () => {
      const [task] = await cluster.tasks('pinned/db');
      expect(task?.reason).toBe(`volume pinned_kept of slot 1 is on node ${home ?? ''}, which is down`);
    }, 30_000);
    await must('ip', ['-n', `frota-test-placement-${home ?? ''}`, 'link', 'set', 'eth0', 'up']);
    await eventually(async () => {
      expect(await runningOn('pinned/db')).toEqual([home]);
    }, 30_000);
    await frota('rm', 'pinned', ...waited);
  });
});

describe('a restart policy', () => {
  it('counts on, whoever is killed meanwhile, and stops at its bound', async () => {
    const deploy = {
      placement: { constraints: ['node.hostname == n1'] },
      restart_policy: { condition: 'on-failure', delay: '2s', max_attempts: 3, window: '10m' },
    };
    await applied(stack('crash', service('app', { command: ['sh', '-c', 'sleep 1; exit 7'], deploy })));
    await eventually(async () => {
      expect((await cluster.tasks('crash/app', '--all')).length).toBeGreaterThan(1);
    }, 30_000);
    killPid(await pidOfPart(cluster, 'c1'));
    await eventually(async () => {
      expect((await cluster.tasks('crash/app', '--all')).length).toBeGreaterThan(2);
    }, 30_000);
    killPid(await pidOfPart(cluster, 'n1'));
    const attempts = async () =>
      (await cluster.tasks('crash/app', '--all')).map(({ restarts, state }) => [restarts, state]);
    const all = [3, 2, 1, 0].map((restarts) => [restarts, 'failed']);
    await eventually(async () => {
      expect(await attempts()).toEqual(all);
    }, 40_000);
    await sleep(4_000);
    expect(await attempts()).toEqual(all);
    await frota('rm', 'crash', ...waited);
  });
});
