/** Updates of running services: both orders, what fails, the way back, and a node that is emptied, while somebody asks all the time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RevisionView, ServiceView, TaskView } from '../../proto/domain/views.ts';
import { eventually, httpGet, startTestCluster, stopTestCluster } from './cluster.ts';
import type { CommandResult, TestCluster } from './cluster.ts';
import { pushBusybox, serveCommand } from './images.ts';

let cluster: TestCluster;
let image = '';

interface Declared {
  readonly colour: string;
  readonly update?: string;
  readonly command?: string;
  readonly image?: string;
}

const compose = ({ colour, update = '', command = serveCommand(8080), image: other = image }: Declared): string => `
name: shop
services:
  web:
    image: ${other}
    command: ["sh", "-c", ${JSON.stringify(command)}]
    environment: {COLOUR: ${colour}}
    ports: ["8080:8080"]
    stop_grace_period: 1s
    deploy:
      replicas: 3
      update_config: {monitor: 1s${update}}
      rollback_config: {parallelism: 0, monitor: 500ms}
`;
const declare = (declared: Declared): Promise<CommandResult> =>
  cluster.apply(compose(declared), '--wait', '--timeout', '90s', '-o', 'json');

const status = async (): Promise<ServiceView | undefined> =>
  (await cluster.json<ServiceView[]>('rollout', 'status', 'web'))[0];
const running = async (): Promise<readonly TaskView[]> =>
  (await cluster.tasks('web')).filter(({ desiredState, state }) => desiredState === 'running' && state === 'running');

/** Fewest slots that ran at any time during the work. */
async function fewestDuring(work: () => Promise<void>): Promise<number> {
  let fewest = Infinity;
  const over = new AbortController();
  const looking = (async () => {
    while (!over.signal.aborted) {
      fewest = Math.min(fewest, new Set((await running()).map(({ slot }) => slot)).size);
      await sleep(100);
    }
  })();
  try {
    await work();
  } finally {
    over.abort();
    await looking;
  }
  return fewest;
}

beforeAll(async () => {
  cluster = await startTestCluster('rollout');
  image = await pushBusybox(cluster.registry);
  const first = await declare({ colour: 'red' });
  expect(first.code, first.stderr).toBe(0);
});
afterAll(() => stopTestCluster(cluster));

describe('an update', () => {
  it('stop-first takes one slot down at a time and replaces them all', async () => {
    const before = (await running()).map(({ id }) => id);
    expect(await fewestDuring(async () => {
      const applied = await declare({ colour: 'green' });
      expect(applied.code, applied.stderr).toBe(0);
    })).toBe(2); // prettier-ignore
    const after = await running();
    expect(after.map(({ slot }) => slot)).toEqual([1, 2, 3]);
    for (const { id } of after) expect(before).not.toContain(id);
    expect((await status())?.rollout).toMatchObject({ state: 'completed', updated: 3, failed: 0 });
  });

  it('start-first has never fewer running than declared', async () => {
    expect(await fewestDuring(async () => {
      const applied = await declare({ colour: 'blue', update: ', order: start-first, parallelism: 2' });
      expect(applied.code, applied.stderr).toBe(0);
    })).toBe(3); // prettier-ignore
    expect((await status())?.rollout).toMatchObject({ state: 'completed', updated: 3 });
  });

  it('that fails is paused at its first slot, which is filled again with what ran before; the wait says why', async () => {
    const failed = await declare({ colour: 'black', command: 'echo no database; exit 3' });
    expect(failed.code).toBe(3);
    expect(failed.stderr).toContain('update paused: 1 of 3 slots failed, none may: web.1 on n');
    expect(failed.stderr).toContain('no database');
    expect((await status())?.rollout).toMatchObject({ state: 'paused', failed: 1 });
    await eventually(async () => {
      expect(await running()).toHaveLength(3);
    });
    const [node] = await cluster.nodes();
    await httpGet(`http://${node?.address ?? ''}:8080/`);
  });

  it('that fails is rolled back where its policy says so', async () => {
    const update = ', failure_action: rollback, order: start-first';
    const fewest = await fewestDuring(async () => {
      const failed = await declare({ colour: 'white', update, command: 'exit 4' });
      expect(failed.code).toBe(3);
      expect(failed.stderr).toContain('update rolled back: 1 of 3 slots failed');
    });
    // Without a health check a task that is about to fail runs for a moment, which may be enough to end the one before it.
    expect(fewest).toBeGreaterThanOrEqual(2);
    expect((await status())?.rollout).toMatchObject({ state: 'rolled-back', updated: 0 });
    expect((await cluster.frota('scale', 'web=4', '--wait')).code).toBe(0);
    expect((await cluster.frota('scale', 'web=3', '--wait')).code).toBe(0);
    expect((await status())?.rollout?.state).toBe('rolled-back');
  });
});

describe('rollout', () => {
  it('history tells what was accepted; undo declares an earlier version anew; restart replaces every task', async () => {
    const history = await cluster.json<RevisionView[]>('rollout', 'history', 'shop');
    expect(history.map(({ kind }) => kind)).toEqual(['scale', 'scale', 'apply', 'apply', 'apply', 'apply', 'apply']);
    const blue = history.find(({ version }) => version === 3);
    expect(blue?.differences).toContain('web: variable COLOUR changed');
    const undone = await cluster.frota('rollout', 'undo', 'shop', '--to-revision', '3', '--wait', '--timeout', '90s');
    expect(undone.code, undone.stderr).toBe(0);
    const before = (await running()).map(({ id }) => id);
    const restarted = await cluster.frota('rollout', 'restart', 'web', '--wait', '--timeout', '90s');
    expect(restarted.code, restarted.stderr).toBe(0);
    const after = (await running()).map(({ id }) => id);
    expect(after).toHaveLength(3);
    for (const id of after) expect(before).not.toContain(id);
    const [latest] = await cluster.json<RevisionView[]>('rollout', 'history', 'shop');
    expect(latest).toMatchObject({ kind: 'restart', current: true, differences: ['web: restarted'] });
  });
});

it('a node is drained start-first', async () => {
  expect(await fewestDuring(async () => {
    const drained = await cluster.frota('node', 'drain', 'n1', '--wait', '--timeout', '60s');
    expect(drained.code, drained.stderr).toBe(0);
  })).toBe(3); // prettier-ignore
  expect((await running()).map(({ node }) => node)).not.toContain('n1');
  expect((await cluster.frota('node', 'activate', 'n1')).code).toBe(0);
});
