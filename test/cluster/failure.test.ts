/** What dies is replaced; what lives is left alone. Real containers, real SIGKILLs, real cut links. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  answers,
  command,
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
    const elsewhere = await eventually(async () => {
      const tasks = await cluster.tasks('web');
      expect(tasks.every((task) => task.state === 'running' && task.node !== 'n2')).toBe(true);
      expect(tasks.map((task) => task.slot)).toEqual([1, 2, 3, 4]);
      return tasks;
    }, 15_000, 50); // prettier-ignore
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

  it('a link that is cut: neighbours avoid the node by VIP, port and name, though no controller decides', async () => {
    // n2 may have lost all its tasks to others by now: of six some are placed there.
    expect((await cluster.frota('scale', 'web=6', '--wait')).code).toBe(0);
    const tasks = await cluster.tasks('web');
    const spared = tasks.filter(({ node }) => node !== 'n2').map(({ address }) => address ?? '');
    expect(spared.length).toBeLessThan(tasks.length);
    const asker = (await containerPids(cluster)).get(tasks.find(({ node }) => node === 'n1')?.id ?? '') ?? 0;
    const named = async (): Promise<readonly string[]> => {
      const asked = await command('nsenter', [
        '-t',
        String(asker),
        '-n',
        '-m',
        '/bin/busybox',
        'nslookup',
        'tasks.web',
      ]);
      return [
        ...(asked.stdout
          .split('Name:')
          .slice(1)
          .join('')
          .match(/\d+\.\d+\.\d+\.\d+/gu) ?? []),
      ].sort();
    };
    const ported = async (): Promise<readonly string[]> => {
      const list = ['nft', 'list', 'chain', 'ip', 'frota', 'port/tcp/8080'];
      const listed = await must('ip', ['netns', 'exec', 'frota-test-failure-n1', ...list]);
      return [...new Set(listed.match(/\d+\.\d+\.\d+\.\d+/gu))].sort();
    };
    const all = tasks.map(({ address }) => address ?? '').sort();
    await eventually(async () => expect(await named()).toEqual(all));
    const controller = await pidOfPart(cluster, 'c1');
    process.kill(controller, 'SIGSTOP');
    try {
      await must('ip', ['-n', 'frota-test-failure-n2', 'link', 'set', 'eth0', 'down']);
      await eventually(async () => {
        expect(await named()).toEqual([...spared].sort());
        expect(await ported()).toEqual([...spared].sort());
      }, 5_000, 50); // prettier-ignore
      await must('ip', ['-n', 'frota-test-failure-n2', 'link', 'set', 'eth0', 'up']);
      await eventually(async () => {
        expect(await named()).toEqual(all);
        expect(await ported()).toEqual(all);
      }, 10_000, 50); // prettier-ignore
    } finally {
      await must('ip', ['-n', 'frota-test-failure-n2', 'link', 'set', 'eth0', 'up']);
      process.kill(controller, 'SIGCONT');
    }
    expect((await cluster.frota('scale', 'web=4', '--wait')).code).toBe(0);
  });

  it('UDP blocked between a node and the controller: it lives over its session, and its death is still seen', async () => {
    const [controller] = JSON.parse(
      await must('ip', ['-n', 'frota-test-failure-c1', '-json', '-4', 'address', 'show', 'dev', 'eth0']),
    ) as [{ addr_info: [{ local: string }] }];
    const address = controller.addr_info[0].local;
    const nft = (...args: string[]) => must('ip', ['netns', 'exec', 'frota-test-failure-n2', 'nft', ...args]);
    const before = await cluster.tasks('web');
    const n2 = async () => (await cluster.nodes()).find(({ name }) => name === 'n2');
    await nft('add', 'table', 'ip', 'blocked');
    try {
      for (const [hook, end] of [['input', 'saddr'], ['output', 'daddr']] as const) {
        await nft('add', 'chain', 'ip', 'blocked', hook, `{ type filter hook ${hook} priority -300; }`);
        await nft('add', 'rule', 'ip', 'blocked', hook, 'ip', end, address, 'meta', 'l4proto', 'udp', 'counter', 'drop');
      } // prettier-ignore
      const seen = new Set<string>();
      const end = performance.now() + 6_000;
      while (performance.now() < end) {
        seen.add((await n2())?.state ?? 'unknown');
        await sleep(50);
      }
      expect([...seen].filter((state) => state !== 'ready' && state !== 'suspect')).toEqual([]);
      expect(await n2()).toMatchObject({ state: 'ready', notes: [expect.stringContaining('session')] });
      expect(await nft('list', 'table', 'ip', 'blocked')).toMatch(/packets [1-9]/u);
      expect((await cluster.tasks('web')).map(({ id }) => id)).toEqual(before.map(({ id }) => id));

      await must('ip', ['-n', 'frota-test-failure-n2', 'link', 'set', 'eth0', 'down']);
      await killCgroup('/frota/test-failure/n2');
      // Silence on a session is believed later than that of datagrams (streamSilence and confirmWithin), but long before the grace of 30 s is over.
      await eventually(async () => (await n2())?.state === 'down', 15_000, 50);
      await eventually(async () => {
        const tasks = await cluster.tasks('web');
        expect(tasks.every(({ state, node }) => state === 'running' && node !== 'n2')).toBe(true);
      });
    } finally {
      await nft('delete', 'table', 'ip', 'blocked');
      await must('ip', ['-n', 'frota-test-failure-n2', 'link', 'set', 'eth0', 'up']);
    }
    await eventually(async () => expect(await n2()).toMatchObject({ state: 'ready', notes: [] }), 30_000);
  });

  it('a runtime that hangs: the node says so and takes no new task, though its heart beats; then it goes on', async () => {
    const n2 = async () => (await cluster.nodes()).find(({ name }) => name === 'n2');
    const stopped = new Set<number>();
    const hanging = new AbortController();
    const stopRuntimes = (async () => {
      while (!hanging.signal.aborted) {
        for (const pid of await pidsInCgroup('/frota/test-failure/n2')) {
          const name = await readFile(`/proc/${String(pid)}/comm`, 'utf8').catch(() => '');
          if (name.trim() !== 'runc' || stopped.has(pid)) continue;
          stopped.add(pid);
          process.kill(pid, 'SIGSTOP');
        }
      }
    })();
    const resume = (): void => {
      for (const pid of stopped) {
        try {
          process.kill(pid, 'SIGCONT');
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
        }
      }
    };
    try {
      // n2 has the fewest tasks, so that some of these are its.
      expect((await cluster.frota('scale', 'web=7')).code).toBe(0);
      await eventually(async () => {
        expect(await n2()).toMatchObject({
          state: 'ready',
          notes: [expect.stringContaining('its container runtime has not answered')],
        });
      });
      expect(stopped.size).toBeGreaterThan(0);
      const before = new Set((await cluster.tasks('web')).map(({ id }) => id));
      expect((await cluster.frota('scale', 'web=9')).code).toBe(0);
      const added = await eventually(async () => {
        const found = (await cluster.tasks('web')).filter(({ id, state }) => !before.has(id) && state === 'running');
        expect(found).toHaveLength(2);
        return found;
      });
      expect(added.map(({ node }) => node)).not.toContain('n2');
      expect(await n2()).toMatchObject({ state: 'ready' });
    } finally {
      hanging.abort();
      await stopRuntimes;
      resume();
    }
    await eventually(async () => {
      expect(await n2()).toMatchObject({ state: 'ready', notes: [] });
      const tasks = await cluster.tasks('web');
      expect(tasks.filter(({ state }) => state === 'running')).toHaveLength(9);
      expect(tasks.some(({ node }) => node === 'n2')).toBe(true);
    }, 30_000);
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
