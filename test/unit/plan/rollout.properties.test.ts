/** What an update may do to a service, whatever its new tasks do and under whatever policy. The old tasks never fail here. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Task } from '../../../proto/domain/task.ts';
import { defaultUpdatePolicy } from '../../../proto/domain/update.ts';
import type { UpdatePolicy } from '../../../proto/domain/update.ts';
import { imageOf, Shop, tagOf } from './shop.ts';
import type { Conduct } from './shop.ts';

const policy = (over: Partial<Record<keyof UpdatePolicy, fc.Arbitrary<unknown>>> = {}): fc.Arbitrary<UpdatePolicy> =>
  fc.record({
    parallelism: fc.nat({ max: 3 }),
    delayMs: fc.constantFrom(0, 3_000),
    order: fc.constantFrom('start-first', 'stop-first'),
    monitorMs: fc.constantFrom(0, 2_000, 5_000),
    failureAction: fc.constantFrom('pause', 'continue', 'rollback'),
    maxFailureRatio: fc.constantFrom(0, 0.3, 0.6, 1),
    ...over,
  }) as fc.Arbitrary<UpdatePolicy>;

/** What the new tasks of a slot do, and how long after they were made. */
const fate = fc.record({
  conduct: fc.constantFrom(undefined, undefined, 'failed', 'rejected', 'complete', 'unhealthy'),
  afterMs: fc.constantFrom(0, 0, 1_000, 4_000, 20_000),
  startsAfterMs: fc.constantFrom(0, 500, 6_000),
  /** From this attempt on it is well. */
  heals: fc.integer({ min: 1, max: 4 }),
});
const fates = fc.array(fate, { minLength: 6, maxLength: 6 });
const replicas = fc.integer({ min: 1, max: 6 });

function conductOf(taken: readonly (typeof fate extends fc.Arbitrary<infer T> ? T : never)[]): Conduct {
  return (task, wall) => {
    const one = taken[task.slot - 1];
    if (one === undefined || tagOf(task) === '1') return undefined;
    const age = wall - task.createdAtMs;
    if (one.conduct !== undefined && task.attempt < one.heals && age >= one.afterMs) return one.conduct;
    return age < one.startsAfterMs ? 'starting' : undefined;
  };
}

/** Slots that run nothing well now. */
const down = (world: Shop, size: number): readonly number[] => {
  const up = new Set(
    world.tasks.filter((task) => task.desired === 'running' && world.runs(task)).map(({ slot }) => slot),
  );
  return Array.from({ length: size }, (_, index) => index + 1).filter((slot) => !up.has(slot));
};
const hasFailed = (world: Shop, task: Task): boolean =>
  ['failed', 'rejected', 'complete'].includes(world.stateOf(task)) ||
  world.snapshot.statuses.get(task.id)?.health === 'unhealthy';

/** One step at a time, so that nothing between is missed: `look` after each pass and after each move of the agents. */
function walk(world: Shop, look: () => void): void {
  for (let step = 0; step < 120; step += 1) {
    world.pass();
    look();
    world.agents();
    look();
    world.wall += 500;
  }
}

const runs = { numRuns: 40 };

describe('whatever new tasks do', () => {
  it('stop-first takes no more slots down than parallelism says, beyond those that failed', () => {
    fc.assert(
      fc.property(replicas, policy({ order: fc.constant('stop-first') }), fates, (size, update, taken) => {
        const world = new Shop({ replicas: size, update, rollback: update });
        world.conduct = conductOf(taken);
        world.declare({ template: imageOf('2') });
        const allowed = update.parallelism === 0 ? size : update.parallelism;
        const failed = new Set<number>();
        walk(world, () => {
          for (const task of world.tasks) if (tagOf(task) === '2' && hasFailed(world, task)) failed.add(task.slot);
          expect(down(world, size).filter((slot) => !failed.has(slot)).length).toBeLessThanOrEqual(allowed);
        });
      }),
      runs,
    );
  });

  it('start-first takes no slot down but one whose new task ran and then failed', () => {
    fc.assert(
      fc.property(replicas, policy({ order: fc.constant('start-first') }), fates, (size, update, taken) => {
        const world = new Shop({ replicas: size, update, rollback: update });
        world.conduct = conductOf(taken);
        world.declare({ template: imageOf('2') });
        const ran = new Set<number>();
        walk(world, () => {
          for (const task of world.tasks) {
            if (tagOf(task) === '2' && world.snapshot.statuses.get(task.id)?.ranAtMs !== undefined) ran.add(task.slot);
          }
          for (const slot of down(world, size)) expect(ran).toContain(slot);
        });
      }),
      runs,
    );
  });

  it('a rollback ends with the old template everywhere, an update that goes through with the new one', () => {
    const rollback = { ...defaultUpdatePolicy, parallelism: 0, monitorMs: 0 };
    fc.assert(
      fc.property(replicas, policy({ failureAction: fc.constant('rollback') }), fates, (size, update, taken) => {
        const world = new Shop({ replicas: size, update, rollback });
        world.conduct = conductOf(taken);
        world.declare({ template: imageOf('2') });
        walk(world, () => undefined);
        // In small steps: what starts only with time is no change that the plan could wait for.
        for (let step = 0; step < 60; step += 1) world.rest(5_000);
        const { state } = world.rollout ?? {};
        expect(['rolled-back', 'completed']).toContain(state);
        if (state === 'rolled-back') expect(world.running).toEqual(Array.from({ length: size }, () => '1'));
        else
          expect(new Set(world.tasks.filter((task) => task.desired === 'running').map(tagOf))).toEqual(new Set(['2']));
      }),
      runs,
    );
  });

  it('once it is calm nothing changes, and every slot is held once', () => {
    fc.assert(
      fc.property(replicas, policy(), fates, fc.nat({ max: 40 }), (size, update, taken, steps) => {
        const world = new Shop({ replicas: size, update, rollback: update });
        world.conduct = conductOf(taken);
        world.declare({ template: imageOf('2') });
        for (let step = 0; step < steps; step += 1) {
          world.pass();
          world.agents();
          world.wall += 500;
        }
        world.conduct = () => undefined;
        world.rest();
        expect(down(world, size)).toEqual([]);
        expect(world.tasks.filter((task) => task.desired === 'running')).toHaveLength(size);
        expect(world.pass().changes).toEqual([]);
      }),
      runs,
    );
  });
});
