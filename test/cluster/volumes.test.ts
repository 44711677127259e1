/** Volumes on a real cluster: data that outlives tasks, updates, sizes, the stack and the loss of its node, and slots that stay with it. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, killCgroup, killPid, must, pidOfPart, startTestCluster, stopTestCluster } from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox } from './images.ts';

let cluster: TestCluster;
let image = '';
const stateFolder = '/var/lib/frota/clusters/test-volumes';
const waited = ['--wait', '--timeout', '60s'] as const;

beforeAll(async () => {
  cluster = await startTestCluster('volumes');
  image = await pushBusybox(cluster.registry);
});
afterAll(() => stopTestCluster(cluster));

async function applied(text: string): Promise<void> {
  const result = await cluster.apply(text, ...waited);
  expect(result.code, result.stderr).toBe(0);
}
async function frota(...args: readonly string[]): Promise<string> {
  const result = await cluster.frota(...args);
  expect(result.code, result.stderr).toBe(0);
  return result.stdout;
}

/** Each task writes which one it is behind what is there already. */
const compose = (generation: string): string => `
name: store
services:
  db:
    image: ${image}
    command: ["sh", "-c", "echo ${generation} >> /data/log; exec sleep 3600"]
    stop_grace_period: 0s
    volumes: ["kept:/data", {type: tmpfs, target: /scratch}]
    deploy: {replicas: 2, update_config: {parallelism: 0, monitor: 200ms}}
volumes: {kept: {}}
`;
/** By slot: its node, what it finds, and whether it is another task than before. */
async function slots(): Promise<ReadonlyMap<number, { readonly id: string; readonly node: string | null }>> {
  const tasks = await cluster.tasks('store/db');
  expect(tasks.map(({ state }) => state)).toEqual(tasks.map(() => 'running'));
  return new Map(tasks.map(({ slot, id, node }) => [slot, { id, node }]));
}
const logOf = async (slot: number): Promise<readonly string[]> =>
  (await frota('exec', `store/db.${String(slot)}`, 'cat', '/data/log')).trim().split('\n');
const nodesOf = async () => new Map([...(await slots())].map(([slot, { node }]) => [slot, node]));

describe('a slot with a named volume', () => {
  const home = new Map([
    [1, 'n2'],
    [2, 'n3'],
  ]);

  it('stays with its node and its data over an update, a restart and an agent that dies', async () => {
    // From here on n1 is the emptiest: whatever is placed anew would go there.
    await frota('node', 'pause', 'n1');
    await applied(compose('first'));
    await frota('node', 'activate', 'n1');
    expect(await nodesOf()).toEqual(home);
    const before = await slots();
    await applied(compose('second'));
    await frota('rollout', 'restart', 'store/db', ...waited);
    killPid(await pidOfPart(cluster, 'n2'));
    await eventually(async () => {
      expect((await cluster.nodes()).every(({ state }) => state === 'ready')).toBe(true);
      await pidOfPart(cluster, 'n2');
    });
    expect(await nodesOf()).toEqual(home);
    for (const slot of home.keys()) {
      // The next agent may not be connected yet when its node, which was never silent for long, is still called ready.
      await eventually(async () => {
        expect(await logOf(slot)).toEqual(['first', 'second', 'second']);
      });
      expect((await slots()).get(slot)?.id).not.toBe(before.get(slot)?.id);
    }
  });

  it('comes back to them when it was scaled away, and when the stack was removed', async () => {
    await frota('scale', 'store/db=1', ...waited);
    expect(await nodesOf()).toEqual(new Map([[1, 'n2']]));
    await frota('scale', 'store/db=2', ...waited);
    expect(await nodesOf()).toEqual(home);
    await frota('rm', 'store', '--wait');
    await eventually(async () => {
      expect(await must('findmnt', ['-rno', 'TARGET'])).not.toMatch(new RegExp(`${stateFolder}/n[23]/containers`));
    });
    for (const node of home.values()) expect(await readdir(join(stateFolder, node, 'volumes'))).toContain('store_kept');
    killPid(await pidOfPart(cluster, 'c1'));
    await eventually(() => applied(compose('third')), 30_000);
    expect(await nodesOf()).toEqual(home);
    expect(await logOf(1)).toEqual(['first', 'second', 'second', 'third']);
    expect(await logOf(2)).toEqual(['first', 'second', 'second', 'second', 'third']);
  });

  it('waits for its node when that is lost, says so, and runs there again', async () => {
    await must('ip', ['-n', 'frota-test-volumes-n2', 'link', 'set', 'eth0', 'down']);
    await killCgroup('/frota/test-volumes/n2');
    const reason = 'volume store_kept of slot 1 is on node n2, which is down';
    await eventually(async () => {
      const waiting = (await cluster.tasks('store/db')).find(({ slot }) => slot === 1);
      expect([waiting?.node, waiting?.state, waiting?.reason]).toEqual([null, 'pending', reason]);
    }, 30_000);
    expect(await frota('ps', 'store/db')).toContain(reason);
    expect((await cluster.tasks('store/db')).find(({ slot }) => slot === 2)?.state).toBe('running');
    await must('ip', ['-n', 'frota-test-volumes-n2', 'link', 'set', 'eth0', 'up']);
    await eventually(async () => {
      expect(await nodesOf()).toEqual(home);
    }, 40_000);
    expect(await logOf(1)).toEqual(['first', 'second', 'second', 'third', 'third']);
    expect((await logOf(2)).at(-1)).toBe('third');
  });

  it('is placed anew when it was declared without its volume', async () => {
    await applied(compose('bare').replace('"kept:/data", ', '').replace('>> /data/log', '>> /scratch/log'));
    await frota('rm', 'store', '--wait');
    await applied(compose('fourth'));
    expect([...(await nodesOf()).values()]).toContain('n1');
    await frota('rm', 'store', '--wait');
  });
});

describe('a folder of the node', () => {
  it('that is not there is told with node, service and path', async () => {
    const missing = `
name: host
services:
  app:
    image: ${image}
    command: ["sleep", "3600"]
    volumes: [{type: bind, source: /nowhere/at/all, target: /x}]
`;
    await cluster.apply(missing);
    await eventually(async () => {
      const told = (await cluster.tasks('host/app', '--all')).find(({ state }) => state === 'rejected');
      expect(told?.reason).toMatch(/^node n[123], service host\/app, mount at \/x: \/nowhere\/at\/all does not exist on this node/); // prettier-ignore
    });
    await frota('rm', 'host', '--wait');
  });
});
