import { describe, expect, it } from 'vitest';
import { anywhere } from '../../../proto/domain/placement.ts';
import { defaultUpdatePolicy } from '../../../proto/domain/update.ts';
import { aNode, aTemplate } from '../../builders/domain.ts';
import { imageOf, Shop, tagOf } from './shop.ts';

/** Six tasks, two a node, on three nodes. */
const six = (parallelism = 1): Shop =>
  new Shop({ replicas: 6, update: { ...defaultUpdatePolicy, parallelism } }).watch();
const wantedOn = (world: Shop, name: string): number =>
  world.tasks.filter((task) => task.nodeId === aNode(name).id && task.desired === 'running').length;

describe('a drained node', () => {
  it.each([
    [1, 7],
    [2, 8],
    [0, 8],
  ])('is emptied start-first, %i at a time: never fewer run, never more than %i', (parallelism, wanted) => {
    const world = six(parallelism);
    world.conduct = (task, wall) => (wall < task.createdAtMs + 1_000 ? 'starting' : undefined);
    world.availability('n1', 'drain');
    let most = 0;
    for (let tenth = 0; tenth < 50; tenth += 1) {
      world.rest(100);
      most = Math.max(most, world.tasks.filter((task) => task.desired === 'running').length);
    }
    expect([wantedOn(world, 'n1'), wantedOn(world, 'n2'), wantedOn(world, 'n3')]).toEqual([0, 3, 3]);
    expect([world.seen.least, most]).toEqual([6, wanted]);
    expect(world.rollout).toBeUndefined();
    const moved = world.tasks.filter((task) => task.desired === 'shutdown');
    expect(moved.map((task) => task.desiredReason)).toEqual(['node n1 is drained', 'node n1 is drained']);
  });

  it.each([
    [1, 5],
    [2, 4],
    [0, 4],
  ])('is emptied of fenced tasks stop-first, %i at a time: at least %i run', (parallelism, least) => {
    const update = { ...defaultUpdatePolicy, parallelism };
    const world = new Shop({ replicas: 6, template: aTemplate({ fenceLeaseMs: 10_000 }), update }).watch();
    world.conduct = (task, wall) => (wall < task.createdAtMs + 1_000 ? 'starting' : undefined);
    world.rest(5_000);
    world.seen.least = 6;
    world.availability('n1', 'drain').rest(300);
    const reasons = [...world.pass().reasons.values()].filter((reason) => reason.includes('leaves its node once'));
    expect(reasons).toHaveLength(parallelism === 1 ? 1 : 0);
    for (let tenth = 0; tenth < 50; tenth += 1) world.rest(100);
    expect([wantedOn(world, 'n1'), wantedOn(world, 'n2'), wantedOn(world, 'n3')]).toEqual([0, 3, 3]);
    expect(world.seen.least).toBe(least);
  });

  it('keeps what has nowhere else to go, and says why', () => {
    const world = new Shop({ replicas: 1 }, 1).watch();
    world.availability('n1', 'drain').rest();
    expect(world.running).toEqual(['1']);
    expect([...world.pass().reasons.values()]).toEqual(['0/1 nodes fit: 1 is drained']);
    world.availability('n1', 'active').rest();
    expect([world.running, world.tasks.length]).toEqual([['1'], 1]);
  });

  it('is not held up by slots that fail elsewhere', () => {
    const world = six();
    const elsewhere = world.tasks.find((task) => task.nodeId !== 'id-n1')?.slot;
    world.conduct = (task) => (task.slot === elsewhere ? 'failed' : undefined);
    world.rest(20_000);
    world.availability('n1', 'drain').rest(20_000);
    expect(wantedOn(world, 'n1')).toBe(0);
    expect(world.seen.least).toBe(5);
  });

  it('tries a replacement that fails again, the old task serving meanwhile', () => {
    const world = new Shop({ replicas: 1 }, 2).watch();
    const since = world.wall;
    world.conduct = (task, wall) => (task.attempt > 0 && wall < since + 5_000 ? 'failed' : undefined);
    world.availability(world.tasks[0]?.nodeId?.slice(3) ?? '', 'drain').rest(20_000);
    expect(world.tasks.filter((task) => task.desired === 'running').map((task) => task.attempt)).toEqual([5]);
    expect(world.seen.least).toBe(1);
  });

  it('stops at once what holds a volume there, and lets it wait', () => {
    const data = { kind: 'volume', volume: 'shop_data', target: '/data', readOnly: false, noCopy: false } as const;
    const world = new Shop({ replicas: 2, template: { ...imageOf('1'), mounts: [data] } }, 2);
    const [pinned] = world.tasks.filter((task) => task.nodeId === 'id-n1');
    world.availability('n1', 'drain').pass();
    expect(world.snapshot.tasks.get(pinned?.id ?? '')?.value).toMatchObject({
      desired: 'shutdown',
      desiredReason: 'node n1 is drained',
    });
    world.rest();
    expect([...world.pass().reasons.values()]).toEqual(['volume shop_data of slot 1 is on node n1, which is drained']);
    world.availability('n1', 'active').rest();
    expect(world.running).toEqual(['1', '1']);
  });

  it('stops at once what does not run yet', () => {
    const world = new Shop({ replicas: 2 }, 2);
    world.conduct = (task) => (task.slot > 2 ? 'starting' : undefined);
    world.declare({ replicas: 4 }).rest(1_000);
    world.availability('n1', 'drain').pass();
    const starting = world.tasks.filter((task) => task.slot > 2);
    expect(starting.map((task) => [task.nodeId, task.desired]).sort()).toEqual([
      ['id-n1', 'shutdown'],
      ['id-n2', 'running'],
    ]);
  });

  it('simply stops a global service there', () => {
    const world = new Shop({ mode: 'global' }, 3);
    expect(world.running).toHaveLength(3);
    world.availability('n2', 'drain').rest();
    expect(world.tasks.filter((task) => task.desired === 'running').map((task) => task.nodeId)).toEqual(['id-n1', 'id-n3']); // prettier-ignore
    world.availability('n2', 'active').rest();
    expect(world.running).toHaveLength(3);
  });

  it('during an update gets no new task, and its own move to the new template', () => {
    const world = six();
    world.declare({ template: imageOf('2') }).rest(2_000);
    world.availability('n2', 'drain').rest();
    expect(world.running).toEqual(['2', '2', '2', '2', '2', '2']);
    expect(wantedOn(world, 'n2')).toBe(0);
    expect(world.rollout?.state).toBe('completed');
  });

  it('while an update is paused keeps to the template that has run before', () => {
    const world = six();
    world.conduct = (task) => (tagOf(task) === '2' && task.slot === 2 ? 'failed' : undefined);
    world.declare({ template: imageOf('2') }).rest();
    expect(world.running).toEqual(['2', '1', '1', '1', '1', '1']);
    world.availability(world.tasks.find((task) => tagOf(task) === '2')?.nodeId?.slice(3) ?? '', 'drain').rest();
    expect(world.running).toEqual(['1', '1', '1', '1', '1', '1']);
  });
});

describe('a node that a constraint no longer allows', () => {
  const placement = {
    ...anywhere,
    constraints: [{ attribute: 'node.hostname', operator: '!=' as const, value: 'n1' }],
  };

  it('is left as a drained one is: start-first, without a restart of what may stay', () => {
    const world = six().watch();
    const staying = world.tasks.filter((task) => task.nodeId !== 'id-n1').map(({ id }) => id);
    world.conduct = (task, wall) => (wall < task.createdAtMs + 1_000 ? 'starting' : undefined);
    world.declare({ placement });
    for (let tenth = 0; tenth < 50; tenth += 1) world.rest(100);
    expect([wantedOn(world, 'n1'), wantedOn(world, 'n2'), wantedOn(world, 'n3')]).toEqual([0, 3, 3]);
    expect(world.seen.least).toBe(6);
    expect(staying.every((id) => world.snapshot.tasks.get(id)?.value.desired === 'running')).toBe(true);
    const moved = world.tasks.filter((task) => task.desired === 'shutdown');
    expect(new Set(moved.map((task) => task.desiredReason))).toEqual(
      new Set(['node n1 doesn\'t match "node.hostname != n1"']),
    );
  });

  it('keeps what it has while it is paused, and what has nowhere else to go', () => {
    const paused = six();
    paused.availability('n1', 'pause').declare({ placement }).rest();
    expect(wantedOn(paused, 'n1')).toBe(2);
    const alone = new Shop({ replicas: 1 }, 1).watch();
    alone.declare({ placement }).rest();
    expect(alone.running).toEqual(['1']);
  });

  it('keeps what holds a volume there', () => {
    const data = { kind: 'volume', volume: 'shop_data', target: '/data', readOnly: false, noCopy: false } as const;
    const world = new Shop({ replicas: 2, template: { ...imageOf('1'), mounts: [data] } }, 2);
    world.declare({ placement }).rest();
    expect([wantedOn(world, 'n1'), wantedOn(world, 'n2')]).toEqual([1, 1]);
  });
});
