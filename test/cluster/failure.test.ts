/** What dies is replaced; what lives is left alone. Real containers, real SIGKILLs, real cut links. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  answers,
  containerPids,
  eventually,
  httpGet,
  killCgroup,
  killPid,
  must,
  pidOfPart,
  pidsInCgroup,
  startTestCluster,
  stopTestCluster,
} from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { pushBusybox, webCompose } from './images.ts';

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await startTestCluster('failure');
  const image = await pushBusybox(cluster.registry);
  const applied = await cluster.apply(webCompose(image, 4, 'stop_grace_period: 1s'), '--wait', '--timeout', '60s');
  expect(applied.code, applied.stderr).toBe(0);
});
afterAll(() => stopTestCluster(cluster));
beforeEach(() => allRunning(60_000));

/** This bound from the loss of a node to its last replacement running; a later issue makes it about a second. */
const replacedWithinMs = 3_000;

async function allRunning(withinMs: number) {
  return eventually(async () => {
    const tasks = await cluster.tasks('web');
    expect(tasks.map((task) => [task.slot, task.state])).toEqual([1, 2, 3, 4].map((slot) => [slot, 'running']));
    return tasks;
  }, withinMs);
}

const url = async (name: string): Promise<string> => {
  const node = (await cluster.nodes()).find((each) => each.name === name);
  return `http://${node?.address ?? ''}:8080/`;
};

async function everyNodeAnswers(names: readonly string[], ids: readonly string[]) {
  for (const name of names) {
    await eventually(async () => {
      expect(await answers(await url(name), 30), name).toEqual(new Set(ids));
    });
  }
}

describe('failure', () => {
  it('a container that is killed is replaced in its slot', async () => {
    const [victim] = await cluster.tasks('web');
    const pid = (await containerPids(cluster)).get(victim?.id ?? '');
    expect(pid).toBeDefined();
    killPid(pid ?? 0);
    const replaced = await eventually(async () => {
      const task = (await cluster.tasks('web')).find((each) => each.slot === victim?.slot && each.state === 'running');
      expect(task).toBeDefined();
      expect(task?.id).not.toBe(victim?.id);
      return task;
    }, 10_000);
    expect(replaced?.restarts).toBe(1);
    const history = await cluster.tasks('web', '--all');
    const ended = history.find((task) => task.id === victim?.id);
    expect(ended).toMatchObject({ state: 'failed', exitCode: 137 });
    expect(ended?.reason).toContain('SIGKILL');
  });

  it('a power cut: its slots run elsewhere, and the node is right again when it returns', async () => {
    const before = await allRunning(10_000);
    const lost = before.filter((task) => task.node === 'n2');
    expect(lost.length).toBeGreaterThan(0);
    await must('ip', ['netns', 'exec', 'frota-test-failure-n2', 'ip', 'link', 'set', 'eth0', 'down']);
    await killCgroup('/frota/test-failure/n2');
    const cut = performance.now();
    const elsewhere = await eventually(async () => {
      const tasks = await cluster.tasks('web');
      expect(tasks.every((task) => task.state === 'running' && task.node !== 'n2')).toBe(true);
      expect(tasks.map((task) => task.slot)).toEqual([1, 2, 3, 4]);
      return tasks;
    }, 15_000, 50); // prettier-ignore
    expect(performance.now() - cut).toBeLessThan(replacedWithinMs);
    const node = (await cluster.nodes()).find((each) => each.name === 'n2');
    expect(node?.state).toBe('down');
    for (const task of before) {
      if (task.node !== 'n2') expect(elsewhere.map((each) => each.id)).toContain(task.id);
    }
    await everyNodeAnswers(['n1', 'n3'], elsewhere.map((task) => task.id)); // prettier-ignore

    await must('ip', ['netns', 'exec', 'frota-test-failure-n2', 'ip', 'link', 'set', 'eth0', 'up']);
    await eventually(async () => (await cluster.nodes()).find((each) => each.name === 'n2')?.state === 'ready');
    await everyNodeAnswers(['n1', 'n2', 'n3'], elsewhere.map((task) => task.id)); // prettier-ignore
    const routes = await must('ip', ['-n', 'frota-test-failure-n2', 'route', 'show', 'default']);
    expect(routes).toContain('default via');
  });

  it('a cut link alone: the node stops what was replaced meanwhile', async () => {
    // Something must run on n2 to be cut off: scale until it does.
    expect((await cluster.frota('scale', 'web=6', '--wait')).code).toBe(0);
    expect((await cluster.tasks('web')).some((task) => task.node === 'n2')).toBe(true);
    await must('ip', ['-n', 'frota-test-failure-n2', 'link', 'set', 'eth0', 'down']);
    await eventually(async () => {
      const tasks = await cluster.tasks('web');
      expect(tasks.filter((task) => task.state === 'running' && task.node !== 'n2')).toHaveLength(6);
    });
    expect((await containerPids(cluster)).size).toBeGreaterThan(6);
    await must('ip', ['-n', 'frota-test-failure-n2', 'link', 'set', 'eth0', 'up']);
    await eventually(async () => {
      expect((await containerPids(cluster)).size).toBe(6);
    }, 20_000);
    await everyNodeAnswers(['n2'], (await cluster.tasks('web')).map((task) => task.id)); // prettier-ignore
    expect((await cluster.frota('scale', 'web=4', '--wait')).code).toBe(0);
  });

  it('an agent that is killed: its containers serve on, the next agent adopts them', async () => {
    const before = await cluster.tasks('web');
    const reached = await url('n3');
    const old = await pidOfPart(cluster, 'n1');
    killPid(old);
    for (let round = 0; round < 20; round += 1) await httpGet(reached);
    await eventually(async () => {
      expect(await pidOfPart(cluster, 'n1')).not.toBe(old);
    }, 3_000);
    await eventually(async () => (await cluster.nodes()).every((node) => node.state === 'ready'));
    const identity = (tasks: typeof before) => tasks.map(({ id, startedAt, node, restarts }) => ({ id, startedAt, node, restarts })); // prettier-ignore
    expect(identity(await cluster.tasks('web'))).toEqual(identity(before));
    // The adopted container is watched: its end is noticed.
    await everyNodeAnswers(['n1'], before.map((task) => task.id)); // prettier-ignore
  });

  it('a controller that is killed: everything serves on, the next one knows what was accepted', async () => {
    const before = await cluster.tasks('web');
    const reached = await url('n1');
    killPid(await pidOfPart(cluster, 'c1'));
    for (let round = 0; round < 20; round += 1) await httpGet(reached);
    await eventually(async () => {
      const tasks = await cluster.tasks('web');
      expect(tasks.map(({ id, startedAt, state }) => ({ id, startedAt, state }))).toEqual(
        before.map(({ id, startedAt, state }) => ({ id, startedAt, state })),
      );
      expect((await cluster.nodes()).every((node) => node.state === 'ready')).toBe(true);
    });
    expect((await cluster.frota('scale', 'web=5', '--wait')).code).toBe(0);
    expect((await cluster.frota('scale', 'web=4', '--wait')).code).toBe(0);
  });

  it('everything killed at once and started again: what was declared runs', async () => {
    // The supervisor too: it must not bring anything back by itself.
    const supervisor = await pidsInCgroup(`/frota/${cluster.name}/supervisor`);
    expect(supervisor.length).toBeGreaterThan(0);
    for (const pid of supervisor) killPid(pid);
    for (const part of ['c1', 'n1', 'n2', 'n3']) {
      expect(await pidsInCgroup(`/frota/${cluster.name}/${part}`), part).not.toEqual([]);
      await killCgroup(`/frota/${cluster.name}/${part}`);
    }
    await eventually(async () => {
      for (const part of ['c1', 'n1', 'n2', 'n3'])
        expect(await pidsInCgroup(`/frota/${cluster.name}/${part}`)).toEqual([]);
    });
    expect((await cluster.up()).code).toBe(0);
    const tasks = await allRunning(60_000);
    await everyNodeAnswers(['n1', 'n2', 'n3'], tasks.map((task) => task.id)); // prettier-ignore
  });
});
