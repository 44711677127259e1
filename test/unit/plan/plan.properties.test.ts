import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { portKey } from '../../../controller/network/published-ports.ts';
import { isConverged } from '../../../controller/plan/converged.ts';
import { plan } from '../../../controller/plan/plan.ts';
import { isStuck } from '../../../controller/plan/rollout-policy.ts';
import { endedTasksKeptPerSlot } from '../../../controller/plan/slot-history.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { ServiceSpec } from '../../../proto/domain/service.ts';
import type { UpdatePolicy } from '../../../proto/domain/update.ts';
import type { Task } from '../../../proto/domain/task.ts';
import { slotName, taskState, taskStateRank, isEnded } from '../../../proto/domain/task.ts';
import { aLiveness, aPlanInput, aServiceSpec, aTemplate, MiB } from '../../builders/domain.ts';
import { commitChanges } from '../../builders/commit.ts';
import { World } from './world.ts';
import type { Step } from './world.ts';

const template = fc
  .record({
    version: fc.integer({ min: 1, max: 3 }),
    cpuMillis: fc.constantFrom(0, 100, 900),
    memoryMiB: fc.constantFrom(0, 64, 300),
  })
  .map(({ version, cpuMillis, memoryMiB }) =>
    aTemplate({ labels: { version: String(version) }, reservations: { cpuMillis, memoryBytes: memoryMiB * MiB } }),
  );
const policy: fc.Arbitrary<UpdatePolicy> = fc.record({
  parallelism: fc.nat({ max: 2 }),
  delayMs: fc.constantFrom(0, 2_000),
  order: fc.constantFrom('start-first', 'stop-first'),
  monitorMs: fc.constantFrom(0, 5_000),
  failureAction: fc.constantFrom('pause', 'continue', 'rollback'),
  maxFailureRatio: fc.constantFrom(0, 0.5, 1),
});
const service = (name: string): fc.Arbitrary<ServiceSpec> =>
  fc
    .record({
      template,
      replicas: fc.integer({ min: 0, max: 5 }),
      restart: fc.oneof(
        { weight: 4, arbitrary: fc.constant({ condition: 'any' as const }) },
        fc.record({
          condition: fc.constantFrom('any', 'on-failure', 'none'),
          maxAttempts: fc.integer({ min: 0, max: 3 }),
        }),
      ),
      ports: fc.constantFrom<ServiceSpec['ports']>(
        [],
        [{ target: 80, protocol: 'tcp' }],
        [{ target: 80, published: 30_001, protocol: 'tcp' }],
      ),
      update: policy,
      rollback: policy,
    })
    .map((parts) => aServiceSpec({ name, ...parts }));
const services = fc
  .tuple(fc.boolean(), service('api'), service('web'))
  .map(([both, api, web]) => (both ? [api, web] : [web]));
const stack = fc.constantFrom('blog', 'shop');
const node = fc.nat({ max: 3 });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('apply' as const), stack, services }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), stack }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('node' as const),
      node,
      state: fc.constantFrom('ready', 'ready', 'suspect', 'unreachable', 'down', undefined),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('availability' as const),
      node,
      availability: fc.constantFrom('active', 'pause', 'drain'),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('advance' as const),
      task: fc.nat({ max: 30 }),
      to: fc.constantFrom('accepted', 'starting', 'running', 'running', 'complete', 'failed', 'rejected', 'shutdown'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.integer({ min: -20_000, max: 40_000 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      kept: fc.constantFrom('all' as const, 'half' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      kept: fc.uniqueArray(fc.nat({ max: 7 }), { maxLength: 7 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
);
const steps = fc.array(step, { minLength: 1, maxLength: 60 });
const begin: Step = { kind: 'apply', stack: 'shop', services: [aServiceSpec({ replicas: 3 })] };

/** Slots that are wanted more often than once, but for a task that runs until its replacement does. */
function wantedTwice(snapshot: Snapshot, isHeard: (task: Task) => boolean): readonly string[] {
  const slots = new Map<string, Task[]>();
  const stateOf = (task: Task) => taskState(task, snapshot.statuses.get(task.id));
  for (const { value: task } of snapshot.tasks.values()) {
    if (task.desired !== 'running' || isEnded(stateOf(task))) continue;
    const slot = `${task.stack}/${slotName(task.service, task.slot)}`;
    slots.set(slot, [...(slots.get(slot) ?? []), task]);
  }
  const isReplacement = (tasks: readonly Task[]): boolean => {
    const [old, next, ...more] = [...tasks].sort((a, b) => a.attempt - b.attempt);
    if (old === undefined || next === undefined || more.length > 0) return false;
    const drained = snapshot.nodes.get(old.nodeId ?? '')?.value.availability === 'drain';
    const replaces = drained || old.templateHash !== next.templateHash;
    return replaces && stateOf(old) === 'running' && !(stateOf(next) === 'running' && isHeard(next));
  };
  return [...slots].flatMap(([slot, tasks]) => (tasks.length < 2 || isReplacement(tasks) ? [] : [slot]));
}

function publishedTwice(snapshot: Snapshot): readonly string[] {
  const services = [...snapshot.services.values()];
  const ports = services.flatMap(({ value }) =>
    value.ports.map(({ published, protocol }) => portKey(published, protocol)),
  );
  return ports.filter((port, index) => ports.indexOf(port) !== index);
}

/** What is reserved on each node beyond its capacity. Tasks of a lost node may be overtaken by its loss, never by placing. */
function overCapacity(snapshot: Snapshot): readonly string[] {
  const left = new Map([...snapshot.facts].map(([id, { capacity }]) => [id, { ...capacity }]));
  for (const { value: task } of snapshot.tasks.values()) {
    const room = left.get(task.nodeId ?? '');
    if (room === undefined || isEnded(taskState(task, snapshot.statuses.get(task.id)))) continue;
    left.set(task.nodeId ?? '', {
      cpuMillis: room.cpuMillis - task.template.reservations.cpuMillis,
      memoryBytes: room.memoryBytes - task.template.reservations.memoryBytes,
    });
  }
  return [...left].flatMap(([id, room]) => (room.cpuMillis < 0 || room.memoryBytes < 0 ? [id] : []));
}

/** Nothing a task has reached is taken back. */
function checkAdvance(before: Snapshot, after: Snapshot): void {
  const desiredRank = { running: 0, shutdown: 1, remove: 2 } as const;
  for (const [id, { value: task }] of after.tasks) {
    const old = before.tasks.get(id)?.value;
    if (old === undefined) continue;
    expect(desiredRank[task.desired]).toBeGreaterThanOrEqual(desiredRank[old.desired]);
    if (old.nodeId !== undefined) expect(task.nodeId).toBe(old.nodeId);
    if (old.orphaned === true) expect(task.orphaned).toBe(true);
    expect([task.templateHash, task.attempt, task.slot, task.createdAtMs]).toEqual([
      old.templateHash,
      old.attempt,
      old.slot,
      old.createdAtMs,
    ]);
    const rank = (value: typeof task, snapshot: Snapshot): number =>
      taskStateRank(taskState(value, snapshot.statuses.get(id)));
    expect(rank(task, after)).toBeGreaterThanOrEqual(rank(old, before));
  }
  const vips = [...after.services.values()].map(({ value }) => value.vip);
  expect(new Set(vips).size).toBe(vips.length);
  for (const [id, { value }] of after.services) expect(value.vip).toBe(before.services.get(id)?.value.vip ?? value.vip);
}

describe('whatever happens', () => {
  it('no slot is wanted twice, no node is overfilled, nothing goes back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), steps, fc.boolean(), (nodes, taken, lossy) => {
        const world = new World(nodes);
        for (const each of [begin, ...taken]) {
          const before = world.snapshot;
          world.step(
            each.kind !== 'pass' || lossy || typeof each.kept === 'string' ? each : { kind: 'pass', kept: 'half' },
          );
          if (each.kind !== 'pass') continue;
          checkAdvance(before, world.snapshot);
          // A commit that loses changes at random may leave two in a slot until the next full one, a crash in between may not.
          const whole = commitChanges(world.snapshot, world.plan().changes).snapshot;
          const isHeard = (task: Task): boolean => world.liveness().get(task.nodeId ?? '')?.state === 'ready';
          expect(wantedTwice(whole, isHeard)).toEqual([]);
          expect(publishedTwice(whole)).toEqual([]);
          if (!lossy) expect(wantedTwice(world.snapshot, isHeard)).toEqual([]);
          if (!lossy) expect(overCapacity(world.snapshot)).toEqual([]);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('a plan that is committed is followed by none, and equal inputs give equal plans', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), steps, (nodes, taken) => {
        const world = new World(nodes);
        for (const each of [begin, ...taken]) world.step(each);
        const fixed = (snapshot: Snapshot): ReturnType<typeof plan> =>
          plan(snapshot, aPlanInput(snapshot, { wall: world.wall }));
        const first = fixed(world.snapshot);
        expect(fixed(world.snapshot)).toEqual(first);
        const { snapshot, conflicts } = commitChanges(world.snapshot, first.changes);
        expect(conflicts).toBe(0);
        const second = fixed(snapshot);
        expect(second.changes).toEqual([]);
        expect([...second.reasons.keys()].sort()).toEqual(
          [...snapshot.tasks.values()].flatMap(({ value }) => (value.nodeId === undefined ? [value.id] : [])).sort(),
        );
      }),
      { numRuns: 400 },
    );
  });

  it('in calm the cluster becomes what was declared, as far as it fits', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), steps, (nodes, taken) => {
        const world = new World(nodes);
        for (const each of [begin, ...taken]) world.step(each);
        expect(world.calm(400)).toBeLessThan(400);
        const result = world.plan();
        expect(result.changes).toEqual([]);
        const { snapshot } = world;
        for (const name of ['blog', 'shop']) {
          const specs = snapshot.stacks.get(name)?.value.spec.services ?? [];
          const left = [...snapshot.tasks.values()].filter(({ value }) => value.stack === name);
          if (!snapshot.stacks.has(name)) expect(left).toEqual([]);
          // Slots whose policy lets them stay ended, or that have no room, are the only ones that may not run.
          const bounded = specs.some(({ restart }) => restart.condition !== 'any' || restart.maxAttempts !== undefined);
          const crowded = left.some(({ value }) => result.reasons.has(value.id));
          // Nor has one that wants a port which the other stack holds become what was declared.
          const deprived = (result.problems ?? []).length > 0;
          // Nor one whose update has failed, until it is declared anew.
          const failed = [...snapshot.services.values()].some(
            ({ value }) => value.stack === name && isStuck(value.rollout),
          );
          if (!bounded && !crowded && !deprived && !failed)
            expect(isConverged(snapshot, aLiveness(snapshot), name)).toBe(true);
        }
        for (const { value: task } of snapshot.tasks.values()) {
          const siblings = [...snapshot.tasks.values()].filter(
            ({ value }) => value.stack === task.stack && value.service === task.service && value.slot === task.slot,
          );
          expect(siblings.length).toBeLessThanOrEqual(endedTasksKeptPerSlot + 1);
        }
      }),
      { numRuns: 400 },
    );
  });
});
