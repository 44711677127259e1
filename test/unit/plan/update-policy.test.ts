/** Each field of the update policy, as Swarm's users know it. */
import { describe, expect, it } from 'vitest';
import type { Task } from '../../../proto/domain/task.ts';
import { defaultUpdatePolicy } from '../../../proto/domain/update.ts';
import type { UpdatePolicy } from '../../../proto/domain/update.ts';
import { startMs } from '../../builders/domain.ts';
import { imageOf, Shop, tagOf } from './shop.ts';
import type { Conduct } from './shop.ts';

const policy = (over: Partial<UpdatePolicy> = {}): UpdatePolicy => ({ ...defaultUpdatePolicy, ...over });
const shop = (replicas: number, over: Partial<UpdatePolicy> = {}): Shop =>
  new Shop({ replicas, update: policy(over) }).watch();
/** When each task of the tag was made, in ms after the first was. */
const timesOf = (world: Shop, tag: string): readonly number[] => {
  const times = world.tasks.filter((task) => tagOf(task) === tag).map((task) => task.createdAtMs);
  return times.sort((a, b) => a - b).map((time) => time - Math.min(...times));
};
/** Tasks of tag 2 in these slots do so; others run. */
const inSlots =
  (slots: readonly number[], conduct: ReturnType<Conduct>): Conduct =>
  (task) =>
    tagOf(task) === '2' && slots.includes(task.slot) ? conduct : undefined;

describe('parallelism and order', () => {
  it.each([
    ['stop-first', 1, 3, 4],
    ['stop-first', 2, 2, 4],
    ['stop-first', 0, 0, 4],
    ['start-first', 1, 4, 5],
    ['start-first', 3, 4, 7],
    ['start-first', 0, 4, 8],
  ] as const)('%s, %i at a time, of 4: %i run at least, %i at most', (order, parallelism, least, most) => {
    const world = shop(4, { order, parallelism });
    world.declare({ template: imageOf('2') }).rest();
    expect(world.running).toEqual(['2', '2', '2', '2']);
    expect(world.rollout).toMatchObject({ state: 'completed', batches: parallelism === 0 ? 1 : Math.ceil(4 / parallelism), failedSlots: [], version: 2 }); // prettier-ignore
    expect(world.service?.previous).toBeUndefined();
    expect(world.seen).toEqual({ least, most: Math.max(most, least) });
  });

  it('start-first keeps the old task until the new one is healthy, and spreads as before', () => {
    const world = shop(3, { order: 'start-first', monitorMs: 0 });
    world.conduct = (task, wall) => (tagOf(task) === '2' && wall < task.createdAtMs + 3_000 ? 'starting' : undefined);
    world.declare({ template: imageOf('2') }).rest(1_000);
    expect(world.running).toEqual(['1', '1', '1']);
    expect(world.tasks.filter((task) => task.desired === 'running')).toHaveLength(4);
    for (let second = 0; second < 12; second += 1) world.rest(1_000);
    expect(world.running).toEqual(['2', '2', '2']);
    expect(world.seen.least).toBe(3);
    const nodes = world.tasks.filter((task) => task.desired === 'running').map((task) => task.nodeId);
    expect(new Set(nodes).size).toBe(3);
    expect(world.tasks.find((task) => tagOf(task) === '1')?.desiredReason).toBe('service web was updated');
  });
});

describe('delay and monitor', () => {
  it.each([
    [0, 0, [0, 0, 0]],
    [10_000, 0, [0, 10_000, 20_000]],
    [0, 5_000, [0, 5_000, 10_000]],
    [10_000, 5_000, [0, 15_000, 30_000]],
  ])('after a delay of %i ms and a watch of %i ms batches begin at %j', (delayMs, monitorMs, times) => {
    const world = shop(3, { delayMs, monitorMs });
    world.declare({ template: imageOf('2') }).rest();
    expect(timesOf(world, '2')).toEqual(times);
    expect(world.rollout?.endedAtMs).toBe((world.rollout?.startedAtMs ?? 0) + (times[2] ?? 0) + monitorMs);
  });

  it('a clock that is set back makes nothing wait longer than declared', () => {
    const world = shop(2, { delayMs: 60_000 });
    world.declare({ template: imageOf('2') }).rest(6_000);
    expect(world.running).toEqual(['2', '1']);
    world.wall = startMs - 3_600_000;
    world.rest(6_000);
    expect(world.running).toEqual(['2', '2']);
  });

  it('the declared policy of now counts, also in the midst of an update', () => {
    const world = shop(6, { delayMs: 60_000 });
    world.declare({ template: imageOf('2') }).rest(6_000);
    world.declare({ update: policy({ parallelism: 0, delayMs: 0 }) }).rest(6_000);
    expect(world.running).toEqual(['2', '2', '2', '2', '2', '2']);
    expect(world.rollout).toMatchObject({ state: 'completed', version: 2, batches: 2 });
  });
});

describe('what counts as a failure', () => {
  const later = (ms: number, conduct: ReturnType<Conduct>): Conduct => {
    return ({ slot, attempt, createdAtMs }, wall) =>
      slot === 1 && attempt === 1 && wall >= createdAtMs + ms ? conduct : undefined;
  };
  it.each([
    ['an exit', later(0, 'failed'), 'any', 'web.1 on n1: exit code 1: boom'],
    ['a clean exit of what is to run', later(0, 'complete'), 'any', 'web.1 on n1: complete'],
    ['a start that is refused', later(0, 'rejected'), 'any', 'web.1 on n1: rejected'],
    ['being unhealthy before it ran', later(0, 'unhealthy'), 'any', 'web.1 on n1: unhealthy'],
    ['an exit within the watch', later(4_900, 'failed'), 'any', 'web.1 on n1: exit code 1: boom'],
    ['being unhealthy within the watch', later(4_900, 'unhealthy'), 'any', 'web.1 on n1: unhealthy'],
    ['an exit after the watch', later(5_100, 'failed'), 'any', undefined],
    ['the end of what is to end', later(0, 'complete'), 'on-failure', undefined],
    ['an agent that stopped it', later(0, 'shutdown'), 'any', undefined],
  ] as const)('%s', (_, conduct, condition, reason) => {
    const world = new Shop({ replicas: 2, restart: { condition } });
    world.conduct = conduct;
    world.declare({ template: imageOf('2') });
    for (let tenth = 0; tenth < 60; tenth += 1) world.rest(100);
    expect(world.rollout?.reason).toBe(reason === undefined ? undefined : `1 of 2 slots failed, none may: ${reason}`);
    expect(world.rollout?.state === 'paused').toBe(reason !== undefined);
  });

  it('no loss of a node', () => {
    const world = shop(2, { monitorMs: 5_000 });
    world.declare({ template: imageOf('2') }).rest(1_000);
    const [first] = world.tasks.filter((task) => tagOf(task) === '2');
    world.states.set(first?.nodeId ?? '', 'down');
    world.rest();
    expect(world.running).toEqual(['2', '2']);
    expect(world.rollout).toMatchObject({ state: 'completed', failedSlots: [] });
  });
});

describe('failureAction', () => {
  it('pause stops it: what runs stays, and new tasks get the template that has run before', () => {
    const world = shop(3);
    world.conduct = inSlots([2], 'failed');
    world.declare({ template: imageOf('2') }).rest();
    expect(world.rollout).toMatchObject({ state: 'paused', failedSlots: [2], reason: '1 of 3 slots failed, none may: web.2 on n2: exit code 1: boom' }); // prettier-ignore
    expect(world.running).toEqual(['2', '1', '1']);
    world.declare({ replicas: 4 }, 'scale').rest();
    expect(world.running).toEqual(['2', '1', '1', '1']);
    const node = world.tasks.find((task) => task.slot === 1 && task.desired === 'running')?.nodeId ?? '';
    world.states.set(node, 'down');
    world.rest();
    expect(world.running).toEqual(['1', '1', '1', '1']);
    expect(world.rollout?.state).toBe('paused');
  });

  it('pause of start-first leaves every old task running', () => {
    const world = shop(3, { order: 'start-first' });
    world.conduct = inSlots([1], 'rejected');
    world.declare({ template: imageOf('2') }).rest();
    expect(world.rollout?.state).toBe('paused');
    expect([world.running, world.seen]).toEqual([['1', '1', '1'], { least: 3, most: 3 }]);
    expect(world.tasks.filter((task) => tagOf(task) === '2')).toHaveLength(1);
  });

  it('continue goes on past failures, and tries them again with the delays of failures', () => {
    const world = shop(3, { failureAction: 'continue' });
    world.conduct = (task, wall) =>
      tagOf(task) === '2' && task.slot === 1 && wall < startMs + 40_000 ? 'failed' : undefined;
    world.declare({ template: imageOf('2') }).rest(15_000);
    expect(world.running).toEqual(['2', '2']);
    expect(world.rollout).toMatchObject({ state: 'completed', failedSlots: [1], reason: 'web.1 on n1: exit code 1: boom' }); // prettier-ignore
    world.rest(60_000);
    expect(world.running).toEqual(['2', '2', '2']);
  });

  it('continue of start-first keeps the old task where the new one fails, until it does not', () => {
    const world = shop(3, { failureAction: 'continue', order: 'start-first' });
    world.conduct = (task, wall) =>
      tagOf(task) === '2' && task.slot === 1 && wall < startMs + 40_000 ? 'failed' : undefined;
    world.declare({ template: imageOf('2') }).rest(20_000);
    expect([world.running, world.rollout?.state]).toEqual([['1', '2', '2'], 'updating']);
    world.rest(60_000);
    expect([world.running, world.rollout?.state, world.seen.least]).toEqual([['2', '2', '2'], 'completed', 3]);
  });

  it.each(['stop-first', 'start-first'] as const)('rollback, %s, brings the old template back everywhere', (order) => {
    const world = new Shop({
      replicas: 4,
      update: policy({ order, failureAction: 'rollback', parallelism: 2, maxFailureRatio: 0.25 }),
      rollback: policy({ order, parallelism: 0, monitorMs: 1_000 }),
    }).watch();
    world.conduct = inSlots([3, 4], 'failed');
    world.declare({ template: imageOf('2') }).rest();
    expect(world.running).toEqual(['1', '1', '1', '1']);
    expect(world.rollout).toMatchObject({ state: 'rolled-back', version: 2, batches: 1, failedSlots: [] });
    expect(world.rollout?.reason).toMatch(/^2 of 4 slots failed, at most 1 may: web\.4 on /);
    expect(world.seen.least).toBe(order === 'start-first' ? 4 : 2);
    // What fails, is lost or is added later is of the old template, too.
    world.conduct = () => undefined;
    const [first] = world.tasks.filter((task) => task.desired === 'running');
    world.report(first as Task, 'failed');
    world.declare({ replicas: 6 }, 'scale').rest();
    expect(world.running).toEqual(['1', '1', '1', '1', '1', '1']);
    expect(world.rollout?.state).toBe('rolled-back');
  });

  it('a rollback that fails pauses, or goes on where its policy says so', () => {
    for (const [failureAction, state] of [
      ['pause', 'rollback-paused'],
      ['continue', 'rolled-back'],
    ] as const) {
      const update = policy({ failureAction: 'rollback', maxFailureRatio: 0.34, parallelism: 3 });
      const world = new Shop({ replicas: 3, update, rollback: policy({ failureAction, parallelism: 0 }) });
      let broken = false;
      world.conduct = (task) => {
        if (tagOf(task) === '2') return task.slot > 1 ? 'failed' : undefined;
        return task.attempt > 0 && !broken && task.slot === 1 ? 'failed' : undefined;
      };
      world.declare({ template: imageOf('2') }).rest(60_000);
      expect(world.rollout).toMatchObject({ state, failedSlots: [1] });
      broken = true;
      world.rest(60_000);
      expect(world.running).toEqual(['1', '1', '1']);
    }
  });

  it('rollback without anything else to go back to is a pause', () => {
    const world = shop(2, { failureAction: 'rollback' });
    world.declare({ template: imageOf('2') }).rest(1_000);
    world.conduct = (task) => (task.attempt > 0 && tagOf(task) === '1' ? 'failed' : undefined);
    world.declare({ template: imageOf('1') }).rest(10_000);
    expect(world.rollout?.state).toBe('paused');
  });
});

it.each([
  [0.24, 'paused'],
  [0.25, 'completed'],
  [1, 'completed'],
])('of a share of %f one failed slot of four leaves it %s', (maxFailureRatio, state) => {
  const world = shop(4, { maxFailureRatio });
  world.conduct = inSlots([2], 'rejected');
  world.declare({ template: imageOf('2') }).rest(60_000);
  expect(world.rollout?.state).toBe(state);
});
