/** Where and whether tasks run, whatever happens: constraints, bounds, global slots, dependencies, pins. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { Placement } from '../../../proto/domain/placement.ts';
import type { Node } from '../../../proto/domain/node.ts';
import type { ServiceSpec } from '../../../proto/domain/service.ts';
import type { Dependency } from '../../../proto/domain/stack-parts.ts';
import { isEnded, taskState } from '../../../proto/domain/task.ts';
import type { Task } from '../../../proto/domain/task.ts';
import { aServiceSpec, aTemplate } from '../../builders/domain.ts';
import { World } from './world.ts';
import type { Step } from './world.ts';

const zone = fc.constantFrom('north', 'south', undefined);
const placement: fc.Arbitrary<Placement> = fc.record(
  {
    constraints: fc.constantFrom<Placement['constraints']>(
      [],
      [{ attribute: 'node.labels.zone', operator: '==', value: 'north' }],
      [{ attribute: 'node.labels.zone', operator: '!=', value: 'north' }],
    ),
    spread: fc.constantFrom<Placement['spread']>([], ['node.labels.zone']),
    maxReplicasPerNode: fc.integer({ min: 1, max: 2 }),
  },
  { requiredKeys: ['constraints', 'spread'] },
);
const data = { kind: 'volume', volume: 'shop_data', target: '/data', readOnly: false, noCopy: false } as const;
const service = (name: string, dependsOn: readonly Dependency[]): fc.Arbitrary<ServiceSpec> =>
  fc
    .record({
      mode: fc.constantFrom('replicated', 'replicated', 'global'),
      replicas: fc.integer({ min: 0, max: 4 }),
      placement,
      template: fc
        .record({ version: fc.integer({ min: 1, max: 2 }), volume: fc.boolean() })
        .map(({ version, volume }) =>
          aTemplate({ labels: { version: String(version) }, mounts: volume ? [data] : [] }),
        ),
    })
    .map((parts) => aServiceSpec({ name, dependsOn, ...parts }));
const condition = fc.constantFrom<Dependency['condition']>('started', 'healthy');
const services = condition.chain((met) =>
  fc
    .tuple(service('db', []), service('web', [{ service: 'db', condition: met, required: true }]))
    .map((both) => [...both]),
);
const node = fc.nat({ max: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: services.map((list) => ({ kind: 'apply' as const, stack: 'shop', services: list })) },
  { weight: 1, arbitrary: fc.constant({ kind: 'remove' as const, stack: 'shop' }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('node' as const),
      node,
      state: fc.constantFrom('ready', 'ready', 'suspect', 'down', undefined),
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
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('label' as const), node, zone }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unwell' as const), task: fc.nat({ max: 9 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('advance' as const),
      task: fc.nat({ max: 20 }),
      to: fc.constantFrom('starting', 'running', 'running', 'running', 'failed', 'rejected', 'shutdown'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.integer({ min: 0, max: 40_000 }) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('pass' as const), kept: fc.constantFrom('all' as const, 'half' as const) }) }, // prettier-ignore
);
const begin: Step[] = [
  { kind: 'label', node: 0, zone: 'north' },
  { kind: 'label', node: 1, zone: 'south' },
];
const steps = fc.array(step, { minLength: 1, maxLength: 40 });

/** Said once more and by hand, so that a mistake in the plan's own reading of constraints is seen. */
const matches = ({ labels }: Node, { constraints }: Placement): boolean =>
  constraints.every(({ operator }) => (labels.zone === 'north') === (operator === '=='));
const specOf = (snapshot: Snapshot, task: Task): ServiceSpec | undefined =>
  snapshot.stacks.get(task.stack)?.value.spec.services.find(({ name }) => name === task.service);
const tasksOf = (snapshot: Snapshot): readonly Task[] => [...snapshot.tasks.values()].map(({ value }) => value);
const isLive = (snapshot: Snapshot, task: Task): boolean => !isEnded(taskState(task, snapshot.statuses.get(task.id)));

function checkPlaced(before: Snapshot, after: Snapshot): void {
  const placed = tasksOf(after).filter(
    ({ id, nodeId }) => nodeId !== undefined && before.tasks.get(id)?.value.nodeId === undefined,
  );
  for (const task of placed) {
    const spec = specOf(after, task);
    const onNode = after.nodes.get(task.nodeId ?? '')?.value;
    expect(spec !== undefined && onNode !== undefined).toBe(true);
    if (spec === undefined || onNode === undefined) continue;
    expect(matches(onNode, spec.placement)).toBe(true);
    expect(onNode.availability).toBe('active');
    const there = tasksOf(after).filter(
      (other) => other.service === task.service && other.nodeId === task.nodeId && isLive(after, other),
    );
    expect(there.length).toBeLessThanOrEqual(spec.placement.maxReplicasPerNode ?? Infinity);
    // n1 has the second subnet of the pool, so slot 2.
    if (spec.mode === 'global') expect(`id-n${String(task.slot - 1)}`).toBe(task.nodeId);
    checkReleased(before, spec);
    checkPinned(before, spec, task);
  }
}

function checkReleased(before: Snapshot, { name, dependsOn }: ServiceSpec): void {
  const [dependency] = dependsOn;
  if (dependency === undefined || before.services.get(`shop/${name}`)?.value.released === true) return;
  const spec = before.stacks.get('shop')?.value.spec.services.find((other) => other.name === dependency.service);
  if (spec?.mode !== 'replicated') return;
  for (let slot = 1; slot <= spec.replicas; slot += 1) {
    const statuses = tasksOf(before)
      .filter((task) => task.service === spec.name && task.slot === slot)
      .map((task) => before.statuses.get(task.id));
    const isMet = (status: (typeof statuses)[number]): boolean =>
      dependency.condition === 'started'
        ? status?.startedAtMs !== undefined
        : status?.state === 'running' && status.health === 'healthy';
    expect(statuses.some(isMet)).toBe(true);
  }
}

/** A slot that has started with its volume on a node goes nowhere else as long as that node is part of the cluster. */
function checkPinned(before: Snapshot, spec: ServiceSpec, task: Task): void {
  const pin = before.services.get(`shop/${spec.name}`)?.value.pins.find(({ slot }) => slot === task.slot);
  if (pin === undefined || spec.mode === 'global' || spec.template.mounts.length === 0) return;
  const started = tasksOf(before).some(
    (other) =>
      other.service === spec.name &&
      other.slot === task.slot &&
      other.nodeId === pin.nodeId &&
      before.statuses.get(other.id)?.startedAtMs !== undefined,
  );
  if (started) expect(task.nodeId).toBe(pin.nodeId);
}

describe('whatever happens', () => {
  it('nothing is placed against a constraint, a bound, a dependency or a pin', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), steps, (nodes, taken) => {
        const world = new World(nodes);
        world.health = 'healthy';
        for (const each of [...begin, ...taken]) {
          const before = world.snapshot;
          world.step(each);
          if (each.kind === 'pass') checkPlaced(before, world.snapshot);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('in calm a global service has exactly one task on each node that matches, and nothing is where it should not be', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), steps, services, (nodes, taken, last) => {
        const world = new World(nodes);
        world.health = 'healthy';
        for (const each of [...begin, ...taken, { kind: 'apply', stack: 'shop', services: last } as const])
          world.step(each);
        expect(world.calm(400)).toBeLessThan(400);
        const { snapshot } = world;
        const { reasons } = world.plan();
        for (const spec of last) {
          const wanted = tasksOf(snapshot).filter((task) => task.service === spec.name && task.desired === 'running');
          const homes = [...snapshot.nodes.values()]
            .map(({ value }) => value)
            .filter((each) => matches(each, spec.placement));
          const placed = wanted.filter(({ nodeId }) => nodeId !== undefined);
          if (spec.mode === 'global') {
            const expected = homes.map(({ id }) => id).sort();
            if (wanted.every(({ id }) => !reasons.has(id)))
              expect(placed.map(({ nodeId }) => nodeId).sort()).toEqual(expected);
            else expect(wanted).toHaveLength(homes.length);
          }
          // What holds a volume stays with it, though its node no longer matches.
          if (spec.template.mounts.length > 0) continue;
          const elsewhere = placed.filter(({ nodeId }) => !homes.some(({ id }) => id === nodeId));
          const stuck =
            wanted.some(({ id }) => reasons.has(id)) ||
            snapshot.services.get(`shop/${spec.name}`)?.value.rollout?.state === 'paused';
          if (!stuck) expect(elsewhere).toEqual([]);
        }
      }),
      { numRuns: 300 },
    );
  });
});
