/** What leads into an update, out of it, and past it. */
import { describe, expect, it } from 'vitest';
import type { RestartPolicy } from '../../../proto/domain/service.ts';
import { defaultUpdatePolicy } from '../../../proto/domain/update.ts';
import type { UpdatePolicy } from '../../../proto/domain/update.ts';
import { imageOf, Shop, tagOf } from './shop.ts';

const policy = (over: Partial<UpdatePolicy> = {}): UpdatePolicy => ({ ...defaultUpdatePolicy, ...over });
const failing = (world: Shop, ...tags: readonly string[]): Shop => {
  world.conduct = (task) => (tags.includes(tagOf(task)) ? 'failed' : undefined);
  return world;
};

describe('an update begins', () => {
  it('not with a new service, nor with a new size, port or policy', () => {
    const world = new Shop();
    expect(world.rollout).toBeUndefined();
    const before = world.tasks;
    world.declare({ replicas: 4, ports: [{ target: 80, protocol: 'tcp' }], update: policy({ parallelism: 2 }) }).rest();
    expect(world.rollout).toBeUndefined();
    expect(world.tasks.slice(0, 3)).toEqual(before);
  });

  it('not where nothing runs that it could replace', () => {
    const world = failing(new Shop({ replicas: 2 }), '0');
    world.declare({ replicas: 0 }).rest();
    world.declare({ template: imageOf('2') }).rest();
    world.declare({ replicas: 2 }).rest();
    expect([world.running, world.rollout]).toEqual([['2', '2'], undefined]);
  });

  it('with what runs remembered for the way back', () => {
    const world = new Shop();
    world.declare({ template: imageOf('2') }).rest(1_000);
    expect(world.service?.previous).toEqual(imageOf('1'));
    expect(world.rollout).toMatchObject({ state: 'updating', version: 2, batches: 1 });
    expect(world.tasks.filter((task) => tagOf(task) === '2').map((task) => task.rollout)).toEqual([2]);
  });
});

describe('a new declaration', () => {
  it('takes over from one that is under way, which leaves nothing behind', () => {
    const world = new Shop({ replicas: 3, update: policy({ order: 'start-first' }) });
    world.conduct = (task) => (tagOf(task) === '2' ? 'starting' : undefined);
    world.declare({ template: imageOf('2') }).rest(1_000);
    expect(world.tasks.filter((task) => tagOf(task) === '2' && task.desired === 'running')).toHaveLength(1);
    world.declare({ template: imageOf('3') }).rest();
    expect(world.running).toEqual(['3', '3', '3']);
    expect(world.rollout).toMatchObject({ state: 'completed', version: 3 });
    expect(world.tasks.filter((task) => tagOf(task) === '2').map((task) => task.desired)).toEqual(['shutdown']);
  });

  it('goes back to what ran before the one it took over from', () => {
    const world = failing(new Shop({ update: policy({ failureAction: 'rollback' }) }), '3');
    world.declare({ template: imageOf('2') }).rest(6_000);
    world.declare({ template: imageOf('3') }).rest();
    expect([world.running, world.rollout?.state]).toEqual([['1', '1', '1'], 'rolled-back']);
  });

  it('of the same template goes on with an update that is under way', () => {
    const world = new Shop();
    world.declare({ template: imageOf('2') }).rest(6_000);
    world.declare({}).rest(1_000);
    expect(world.rollout).toMatchObject({ state: 'updating', version: 2, batches: 2 });
  });

  it.each(['pause', 'rollback'] as const)('tries again what has failed (%s); scaling does not', (failureAction) => {
    const world = failing(new Shop({ update: policy({ failureAction }) }), '2');
    world.declare({ template: imageOf('2') }).rest();
    const state = failureAction === 'pause' ? 'paused' : 'rolled-back';
    expect(world.rollout).toMatchObject({ state, version: 2 });
    world.conduct = () => undefined;
    world.declare({ replicas: 4 }, 'scale').rest();
    expect([world.running, world.rollout?.state]).toEqual([['1', '1', '1', '1'], state]);
    world.declare({}).rest();
    expect(world.running).toEqual(['2', '2', '2', '2']);
    expect(world.rollout).toMatchObject({ state: 'completed', version: 4 });
    expect(world.service?.previous).toBeUndefined();
  });

  it('with a raised generation alone, as restart makes it, replaces every task of a service that has failed', () => {
    const world = failing(new Shop(), '2');
    world.declare({ template: imageOf('2') }).rest();
    world.conduct = () => undefined;
    world.declare({ template: { ...imageOf('2'), generation: 1 } }, 'scale').rest();
    expect([world.running, world.rollout?.state]).toEqual([['2', '2', '2'], 'completed']);
  });

  it('of what runs already ends a pause and replaces nothing', () => {
    const world = failing(new Shop(), '2');
    world.declare({ template: imageOf('2') }).rest();
    const before = world.tasks.filter((task) => task.desired === 'running');
    world.declare({ template: imageOf('1') }).rest();
    expect(world.tasks.filter((task) => task.desired === 'running')).toEqual(before);
    expect(world.rollout?.state).toBe('completed');
  });
});

it('a paused update is no longer known once its service was removed', () => {
  const world = failing(new Shop(), '2');
  world.declare({ template: imageOf('2') }).rest();
  const { stacks } = world.snapshot;
  world.snapshot = { ...world.snapshot, stacks: new Map() };
  world.pass();
  expect(world.service).toMatchObject({ name: 'web' });
  expect(world.rollout).toBeUndefined();
  world.conduct = () => undefined;
  world.snapshot = { ...world.snapshot, stacks };
  world.rest();
  expect([world.running, world.rollout]).toEqual([['2', '2', '2'], undefined]);
});

describe('a job', () => {
  const once: RestartPolicy = { condition: 'none' };

  it('that has failed in its new version is not run again in its old one', () => {
    const world = new Shop({ replicas: 1, restart: once, update: policy({ failureAction: 'rollback' }) });
    failing(world, '2');
    world.declare({ template: imageOf('2') }).rest();
    expect([world.rollout?.state, world.running]).toEqual(['rolled-back', []]);
    expect(world.tasks.map((task) => [tagOf(task), world.stateOf(task)])).toEqual([
      ['1', 'shutdown'],
      ['2', 'failed'],
    ]);
  });

  it('that ends with 0 completes its update', () => {
    const world = new Shop({ replicas: 1, restart: once });
    world.conduct = (task) => (tagOf(task) === '2' ? 'complete' : undefined);
    world.declare({ template: imageOf('2') }).rest();
    expect(world.rollout?.state).toBe('completed');
  });
});

it('survives a controller that starts again between any two passes', () => {
  const world = failing(new Shop({ update: policy({ failureAction: 'rollback' }) }), '2');
  world.declare({ template: imageOf('2') });
  for (let round = 0; round < 40; round += 1) {
    world.pass();
    world.agents();
    // What was only in memory is forgotten.
    const kept = [...world.snapshot.statuses].filter(([, { state }]) => !['accepted', 'starting'].includes(state));
    world.snapshot = { ...world.snapshot, statuses: new Map(kept) };
    world.wall += 700;
  }
  expect([world.running, world.rollout?.state]).toEqual([['1', '1', '1'], 'rolled-back']);
});
