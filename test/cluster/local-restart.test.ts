/** A node that no controller reaches keeps its services alive by itself, and what it did is adopted or undone on return. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClusterEvent } from '../../proto/domain/event.ts';
import type { TaskView } from '../../proto/domain/views.ts';
import {
  answers,
  command,
  eventually,
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
/** By name; asked while there is a controller. */
const addresses = new Map<string, string>();

beforeAll(async () => {
  cluster = await startTestCluster('alone', 2);
  const image = await pushBusybox(cluster.registry);
  const applied = await cluster.apply(webCompose(image, 2, 'stop_grace_period: 1s'), '--wait', '--timeout', '60s');
  expect(applied.code, applied.stderr).toBe(0);
  for (const { name, address } of await cluster.nodes()) addresses.set(name, address);
});
afterAll(() => stopTestCluster(cluster));

const url = (node: string): string => `http://${addresses.get(node) ?? ''}:8080/`;

/** By the host name of each container that runs on the node, which is its task's id. */
async function containersOn(node: string): Promise<ReadonlyMap<string, number>> {
  const byId = new Map<string, number>();
  for (const pid of await pidsInCgroup(`/frota/${cluster.name}/${node}/containers`)) {
    const host = await command('nsenter', ['-t', String(pid), '-u', 'hostname']);
    if (host.code === 0) byId.set(host.stdout.trim(), pid);
  }
  return byId;
}

async function killContainer({ id, node }: TaskView): Promise<void> {
  const pid = (await containersOn(node ?? '')).get(id);
  expect(pid).toBeDefined();
  killPid(pid ?? 0);
}

/** The id of what runs on the node besides `known`. */
const newOn = (node: string, known: readonly string[], withinMs: number): Promise<string> =>
  eventually(async () => {
    const [id] = [...(await containersOn(node)).keys()].filter((each) => !known.includes(each));
    return id ?? false;
  }, withinMs) as Promise<string>;

const running = (expected: number): Promise<readonly TaskView[]> =>
  eventually(async () => {
    const tasks = await cluster.tasks('web');
    expect(tasks.map(({ state }) => state)).toEqual(Array.from({ length: expected }, () => 'running'));
    return tasks;
  }, 20_000);

async function everywhereExactly(tasks: readonly TaskView[]): Promise<void> {
  await eventually(async () => {
    const there = await Promise.all([...addresses.keys()].map(containersOn));
    expect(there.flatMap((each) => [...each.keys()]).sort()).toEqual(tasks.map(({ id }) => id).sort());
  });
  for (const node of addresses.keys()) {
    await eventually(async () => {
      expect(await answers(url(node), 20), node).toEqual(new Set(tasks.map(({ id }) => id)));
    });
  }
}

/** What starts a controller again. */
async function supervisorPid(): Promise<number> {
  const [, stat = ''] = (await readFile(`/run/frota/${cluster.name}/supervisor.pid`, 'utf8')).split('\n');
  return Number(stat.split(' ')[0]);
}

async function adoptions(): Promise<readonly ClusterEvent[]> {
  const { stdout } = await cluster.frota('events', '-o', 'json');
  const events = stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line) as ClusterEvent); // prettier-ignore
  return events.filter(({ kind }) => kind === 'task.adopted');
}

describe('a node without a controller', () => {
  it('replaces what ends, serves it, goes on after a restart of its agent, and the controller adopts it', async () => {
    const before = await running(2);
    const [victim, other] = before;
    if (victim === undefined || other === undefined) throw new Error('there are two');
    expect(victim.node).not.toBe(other.node);
    const node = victim.node ?? '';
    const supervisor = await supervisorPid();
    process.kill(supervisor, 'SIGSTOP');
    let made: string;
    try {
      killPid(await pidOfPart(cluster, 'c1'));
      await killContainer(victim);
      made = await newOn(node, [victim.id], 12_000);
      await eventually(async () => {
        expect(await answers(url(node), 20)).toEqual(new Set([made, other.id]));
      });
      killPid(await pidOfPart(cluster, node));
    } finally {
      process.kill(supervisor, 'SIGCONT');
    }
    const after = await eventually(async () => {
      const tasks = await running(2);
      expect(tasks.map(({ id }) => id).sort()).toEqual([made, other.id].sort());
      return tasks;
    }, 20_000);
    expect(after.find(({ id }) => id === made)).toMatchObject({ slot: victim.slot, node, restarts: 1 });
    await everywhereExactly(after);
    const history = await cluster.tasks('web', '--all');
    expect(history.find(({ id }) => id === victim.id)).toMatchObject({ state: 'failed', exitCode: 137 });
    const adopted = await adoptions();
    expect(adopted).toHaveLength(1);
    expect(adopted[0]).toMatchObject({ taskId: made, node });
  });

  it('stops what it made where its slot was placed elsewhere meanwhile', async () => {
    const before = await running(2);
    const [victim] = before;
    if (victim === undefined) throw new Error('there are two');
    const node = victim.node ?? '';
    const namespace = `frota-${cluster.name}-${node}`;
    await must('ip', ['-n', namespace, 'link', 'set', 'eth0', 'down']);
    try {
      await killContainer(victim);
      await eventually(async () => {
        const tasks = await cluster.tasks('web');
        expect(tasks.every((task) => task.state === 'running' && task.node !== node)).toBe(true);
        expect(tasks).toHaveLength(2);
      });
      await newOn(node, before.map(({ id }) => id), 20_000); // prettier-ignore
    } finally {
      await must('ip', ['-n', namespace, 'link', 'set', 'eth0', 'up']);
    }
    const after = await running(2);
    expect(after.every((task) => task.node !== node)).toBe(true);
    await everywhereExactly(after);
    expect(await adoptions()).toHaveLength(1);
  });
});
