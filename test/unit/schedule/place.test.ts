import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openPlacing, place, placeOn } from '../../../controller/schedule/place.ts';
import type { Placed, PlacementRequest, ServiceOnNodes } from '../../../controller/schedule/place.ts';
import { openRooms, reserve } from '../../../controller/schedule/rooms.ts';
import type { NodeInput, Room } from '../../../controller/schedule/rooms.ts';
import { maxTasksPerNode } from '../../../controller/schedule/filters/addresses.ts';
import { formatBytes } from '../../../controller/schedule/filters/capacity.ts';
import type { Availability, NodeState } from '../../../proto/domain/node.ts';
import { anywhere } from '../../../proto/domain/placement.ts';
import type { Constraint, Placement } from '../../../proto/domain/placement.ts';
import { aFacts, aNode, MiB } from '../../builders/domain.ts';

interface RoomParts {
  readonly availability?: Availability;
  readonly state?: NodeState | null;
  readonly facts?: boolean;
  readonly cpuMillis?: number;
  readonly memoryMiB?: number;
  readonly labels?: Readonly<Record<string, string>>;
}

function input(name: string, parts: RoomParts = {}): NodeInput {
  const node = aNode(name, { availability: parts.availability ?? 'active', labels: parts.labels ?? {} });
  const capacity = { cpuMillis: parts.cpuMillis ?? 4_000, memoryBytes: (parts.memoryMiB ?? 1_024) * MiB };
  return {
    node,
    facts: parts.facts === false ? undefined : aFacts(node.id, { capacity }),
    state: parts.state === null ? undefined : (parts.state ?? 'ready'),
  };
}

const rooms = (...nodes: readonly NodeInput[]): Room[] => [...openRooms(nodes).values()];
interface Request extends PlacementRequest, ServiceOnNodes {}
const onNodes = (over: Partial<ServiceOnNodes> = {}): ServiceOnNodes => ({
  reservations: { cpuMillis: 0, memoryBytes: 0 },
  placement: anywhere,
  wantedOnNode: new Map(),
  liveOnNode: over.wantedOnNode ?? new Map(),
  ...over,
});
function placed(all: readonly Room[], over: Partial<Request> = {}): Placed {
  return place(all, openPlacing(onNodes(over)), { count: 1, prefer: new Set(), avoid: new Set(), ...over });
}
const memory = (miB: number) => ({ cpuMillis: 0, memoryBytes: miB * MiB });

describe('choice', () => {
  it('takes the node with the fewest tasks of the service, whatever else it runs', () => {
    const [n1, n2] = rooms(input('n1'), input('n2'));
    for (let index = 0; index < 5; index += 1) reserve(n2 as Room, memory(0));
    expect(placed([n1, n2] as Room[], { wantedOnNode: new Map([['id-n1', 1]]) }).nodeIds).toEqual(['id-n2']);
  });

  it('then the one with the fewest tasks, then the most room, then the first by name', () => {
    const [n1, n2] = rooms(input('n1'), input('n2'));
    reserve(n1 as Room, memory(0));
    expect(placed([n1, n2] as Room[]).nodeIds).toEqual(['id-n2']);
    expect(
      placed(rooms(input('n1', { memoryMiB: 512 }), input('n2')), { reservations: memory(1) }).nodeIds,
    ).toHaveLength(1);
    const [small, large] = rooms(input('n1'), input('n2'));
    reserve(small as Room, memory(600));
    reserve(large as Room, memory(100));
    expect(placed([small, large] as Room[]).nodeIds).toEqual(['id-n2']);
    expect(placed(rooms(input('n2'), input('n1'))).nodeIds).toEqual(['id-n1']);
  });

  it('fills up level by level, and each node only as far as it has room', () => {
    const result = placed(rooms(input('n1', { memoryMiB: 100 }), input('n2', { memoryMiB: 350 })), {
      count: 5,
      reservations: memory(100),
    });
    expect(result.nodeIds).toEqual(['id-n1', 'id-n2', 'id-n2', 'id-n2']);
    expect(result.reason).toBe('0/2 nodes fit: 2 lack memory (need 100 MiB, free 50 MiB)');
  });

  it('puts no more on a node than it has addresses for', () => {
    const result = placed(rooms(input('n1'), input('n2')), { count: 2 * maxTasksPerNode + 5 });
    expect(result.nodeIds).toHaveLength(2 * maxTasksPerNode);
    expect(result.reason).toBe(`0/2 nodes fit: 2 have ${String(maxTasksPerNode)} tasks already`);
  });

  it('comes to an avoided node last', () => {
    const avoid = new Set(['id-n1']);
    expect(placed(rooms(input('n1'), input('n2')), { count: 2, avoid }).nodeIds).toEqual(['id-n2', 'id-n2']);
    expect(placed(rooms(input('n1'), input('n2', { availability: 'pause' })), { avoid }).nodeIds).toEqual(['id-n1']);
  });
});

describe('spread', () => {
  const zones = (...counts: readonly [string | undefined, number][]): Room[] =>
    rooms(
      ...counts.flatMap(([zone, count]) =>
        Array.from({ length: count }, (_, index) =>
          input(
            `${zone ?? 'none'}${String(index)}`,
            zone === undefined ? {} : { labels: { zone, rack: String(index % 2) } },
          ),
        ),
      ),
    );
  const over = (...spread: readonly string[]): Placement => ({ ...anywhere, spread });
  const perZone = ({ nodeIds }: Placed): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const id of nodeIds) {
      const zone = id.replace(/^id-/, '').replace(/\d+$/, '');
      counts[zone] = (counts[zone] ?? 0) + 1;
    }
    return counts;
  };

  it('is even over the values of the attribute, however many nodes have each; none is a value, too', () => {
    const result = placed(zones(['a', 1], ['b', 5], [undefined, 3]), { count: 9, placement: over('node.labels.zone') });
    expect(perZone(result)).toEqual({ a: 3, b: 3, none: 3 });
  });

  it('then over those of the second, then over nodes', () => {
    const result = placed(zones(['a', 3], ['b', 3]), {
      count: 8,
      placement: over('node.labels.zone', 'node.labels.rack'),
    });
    // Rack 1 of each zone is one node, rack 0 two.
    const counts = new Map<string, number>();
    for (const id of result.nodeIds) counts.set(id, (counts.get(id) ?? 0) + 1);
    expect(Object.fromEntries(counts)).toEqual({
      'id-a0': 1, 'id-a1': 2, 'id-a2': 1, 'id-b0': 1, 'id-b1': 2, 'id-b2': 1,
    }); // prettier-ignore
  });

  it('counts what runs already, also on nodes that take no more', () => {
    const all = zones(['a', 2], ['b', 2]);
    const paused = all.map((room) =>
      room.node.name === 'a0' ? { ...room, node: { ...room.node, availability: 'pause' as const } } : room,
    );
    const result = placed(paused, {
      count: 2,
      placement: over('node.labels.zone'),
      wantedOnNode: new Map([['id-a0', 2]]),
    });
    expect(perZone(result)).toEqual({ b: 2 });
  });

  it('goes on where a value has no room left', () => {
    const all = rooms(input('a0', { memoryMiB: 100, labels: { zone: 'a' } }), input('b0', { labels: { zone: 'b' } }));
    const result = placed(all, { count: 5, reservations: memory(100), placement: over('node.labels.zone') });
    expect(perZone(result)).toEqual({ a: 1, b: 4 });
  });

  it('takes the emptier of two equal groups', () => {
    const all = zones(['a', 1], ['b', 1]);
    reserve(all[0] as Room, memory(1));
    expect(placed(all, { placement: over('node.labels.zone') }).nodeIds).toEqual(['id-b0']);
  });
});

describe('what a service asks of its nodes', () => {
  const north: Constraint = { attribute: 'node.labels.zone', operator: '==', value: 'north' };
  const notN2: Constraint = { attribute: 'node.hostname', operator: '!=', value: 'n2' };
  const all = (): Room[] =>
    rooms(
      input('n1', { labels: { zone: 'north' } }),
      input('n2', { labels: { zone: 'north' } }),
      input('n3'),
      input('n4'),
    );

  it('keeps its tasks off the others', () => {
    const result = placed(all(), { count: 3, placement: { ...anywhere, constraints: [north] } });
    expect(new Set(result.nodeIds)).toEqual(new Set(['id-n1', 'id-n2']));
  });

  it('is told with how many nodes each constraint costs', () => {
    const placement = { ...anywhere, constraints: [north, notN2] };
    const full = rooms(...all().map(({ node }) => input(node.name, { memoryMiB: 0, labels: node.labels })));
    expect(placed(full, { reservations: memory(1), placement }).reason).toBe(
      '0/4 nodes fit: 1 lacks memory (need 1 MiB, free 0 MiB), 2 don\'t match "node.labels.zone == north", 1 doesn\'t match "node.hostname != n2"',
    );
  });

  it('bounds its tasks on one node, those that are stopping too', () => {
    const placement = { ...anywhere, maxReplicasPerNode: 2 };
    const liveOnNode = new Map([['id-n1', 1]]);
    const result = placed(rooms(input('n1'), input('n2')), {
      count: 5,
      placement,
      wantedOnNode: new Map(),
      liveOnNode,
    });
    expect([...result.nodeIds].sort()).toEqual(['id-n1', 'id-n2', 'id-n2']);
    expect(result.reason).toBe('0/2 nodes fit: 2 have as many of its tasks as max_replicas_per_node allows (2)');
  });
});

it('prefers nodes that have what the task works with, as far as they fit', () => {
  const prefer = new Set(['id-n2']);
  const all = rooms(input('n1'), input('n2', { memoryMiB: 200 }));
  expect(placed(all, { count: 3, reservations: memory(100), prefer }).nodeIds).toEqual(['id-n2', 'id-n2', 'id-n1']);
});

describe('a task that can be on one node only', () => {
  it.each<[string, Parameters<typeof input>[1], string | undefined]>([
    ['fits', {}, undefined],
    ['lacks memory', { memoryMiB: 1 }, 'lacks memory (need 2 MiB, free 1 MiB)'],
    ['is down', { state: 'down' }, 'is down'],
    ['is drained', { availability: 'drain' }, 'is drained'],
  ])('is told what its node lacks: it %s', (_, parts, expected) => {
    const [room] = rooms(input('n1', parts));
    expect(placeOn(room as Room, openPlacing(onNodes({ reservations: memory(2) })))).toBe(expected);
    expect(room?.tasks).toBe(expected === undefined ? 1 : 0);
  });
});

describe('reasons', () => {
  it.each<[string, readonly NodeInput[], string]>([
    ['no nodes', [], 'no node has joined the cluster yet'],
    ['memory', [input('n1', { memoryMiB: 128 })], '0/1 nodes fit: 1 lacks memory (need 512 MiB, free 128 MiB)'],
    [
      'CPU',
      [input('n1', { cpuMillis: 250 }), input('n2', { cpuMillis: 0 })],
      '0/2 nodes fit: 2 lack CPU (need 0.5, free 0.25)',
    ],
    [
      'orders',
      [input('n1', { availability: 'drain' }), input('n2', { availability: 'pause' })],
      '0/2 nodes fit: 1 is drained, 1 is paused',
    ],
    [
      'silence',
      [
        input('n1', { state: 'down' }),
        input('n2', { state: 'down' }),
        input('n3', { state: 'suspect' }),
        input('n4', { state: null }),
        input('n5', { facts: false }),
      ],
      '0/5 nodes fit: 2 are down, 1 is suspect, 1 is not heard yet, 1 is not connected yet',
    ],
    [
      'all kinds, what one can do about first',
      [
        input('n1', { state: 'down' }),
        input('n2', { availability: 'drain' }),
        input('n3', { memoryMiB: 1 }),
        input('n4', { memoryMiB: 2 }),
      ],
      '0/4 nodes fit: 2 lack memory (need 512 MiB, free 2 MiB), 1 is drained, 1 is down',
    ],
  ])('tell of %s', (_, nodes, expected) => {
    const reservations = { cpuMillis: 500, memoryBytes: 512 * MiB };
    expect(placed(rooms(...nodes), { reservations })).toEqual({ nodeIds: [], reason: expected });
  });

  it('write bytes for people', () => {
    expect([0, 1023, 1.5 * MiB, 1024 * MiB, 2560 * MiB].map(formatBytes)).toEqual([
      '0 MiB',
      '1023 B',
      '1.5 MiB',
      '1 GiB',
      '2.5 GiB',
    ]);
  });
});

describe('properties', () => {
  const nodes = fc.array(
    fc.record({
      cpuMillis: fc.integer({ min: 0, max: 4_000 }),
      memoryMiB: fc.integer({ min: 0, max: 1_024 }),
      availability: fc.constantFrom<Availability>('active', 'active', 'pause', 'drain'),
    }),
    { maxLength: 8 },
  );
  const need = fc.record({
    cpuMillis: fc.integer({ min: 0, max: 1_500 }),
    memoryBytes: fc.integer({ min: 0, max: 400 * MiB }),
  });

  it('never overfills, places all that fits, and keeps the totals right', () => {
    fc.assert(
      fc.property(nodes, need, fc.integer({ min: 1, max: 30 }), (parts, reservations, count) => {
        const all = rooms(...parts.map((part, index) => input(`n${String(index)}`, part)));
        const capacityOf = (room: Room) => room.facts?.capacity ?? { cpuMillis: 0, memoryBytes: 0 };
        const fits = all.reduce((sum, room) => {
          if (room.node.availability !== 'active') return sum;
          const cpu =
            reservations.cpuMillis === 0 ? Infinity : Math.floor(capacityOf(room).cpuMillis / reservations.cpuMillis);
          const mem =
            reservations.memoryBytes === 0
              ? Infinity
              : Math.floor(capacityOf(room).memoryBytes / reservations.memoryBytes);
          return sum + Math.min(cpu, mem);
        }, 0);
        const { nodeIds, reason } = placed(all, { count, reservations });
        expect(nodeIds).toHaveLength(Math.min(count, fits));
        expect(reason === undefined).toBe(nodeIds.length === count);
        for (const room of all) {
          const here = nodeIds.filter((id) => id === room.node.id).length;
          expect(room.tasks).toBe(here);
          expect(room.freeCpuMillis).toBe(capacityOf(room).cpuMillis - here * reservations.cpuMillis);
          expect(room.freeCpuMillis).toBeGreaterThanOrEqual(0);
          expect(room.freeMemoryBytes).toBeGreaterThanOrEqual(0);
        }
      }),
    );
  });

  it('spreads: where all fit, the fullest node has one more than the emptiest at the most', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 40 }), (nodeCount, count) => {
        const all = rooms(...Array.from({ length: nodeCount }, (_, index) => input(`n${String(index)}`)));
        const { nodeIds } = placed(all, { count });
        expect(nodeIds).toHaveLength(count);
        const totals = all.map((room) => room.tasks);
        expect(Math.max(...totals) - Math.min(...totals)).toBeLessThanOrEqual(1);
      }),
    );
  });
});
