import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { place } from '../../../controller/schedule/place.ts';
import type { PlacementRequest } from '../../../controller/schedule/place.ts';
import { openRooms, reserve } from '../../../controller/schedule/rooms.ts';
import type { NodeInput, Room } from '../../../controller/schedule/rooms.ts';
import { maxTasksPerNode } from '../../../controller/schedule/filters/addresses.ts';
import { formatBytes } from '../../../controller/schedule/filters/capacity.ts';
import type { Availability, NodeState } from '../../../proto/domain/node.ts';
import { aFacts, aNode, MiB } from '../../builders/domain.ts';

interface RoomParts {
  readonly availability?: Availability;
  readonly state?: NodeState | null;
  readonly facts?: boolean;
  readonly cpuMillis?: number;
  readonly memoryMiB?: number;
}

function input(name: string, parts: RoomParts = {}): NodeInput {
  const node = aNode(name, { availability: parts.availability ?? 'active' });
  const capacity = { cpuMillis: parts.cpuMillis ?? 4_000, memoryBytes: (parts.memoryMiB ?? 1_024) * MiB };
  return {
    node,
    facts: parts.facts === false ? undefined : aFacts(node.id, { capacity }),
    state: parts.state === null ? undefined : (parts.state ?? 'ready'),
  };
}

const rooms = (...nodes: readonly NodeInput[]): Room[] => [...openRooms(nodes).values()];
const request = (over: Partial<PlacementRequest> = {}): PlacementRequest => ({
  count: 1,
  reservations: { cpuMillis: 0, memoryBytes: 0 },
  tasksOnNode: new Map(),
  avoid: new Set(),
  ...over,
});
const memory = (miB: number) => ({ cpuMillis: 0, memoryBytes: miB * MiB });

describe('choice', () => {
  it('takes the node with the fewest tasks of the service, whatever else it runs', () => {
    const [n1, n2] = rooms(input('n1'), input('n2'));
    for (let index = 0; index < 5; index += 1) reserve(n2 as Room, memory(0));
    expect(place([n1, n2] as Room[], request({ tasksOnNode: new Map([['id-n1', 1]]) })).nodeIds).toEqual(['id-n2']);
  });

  it('then the one with the fewest tasks, then the most room, then the first by name', () => {
    const [n1, n2] = rooms(input('n1'), input('n2'));
    reserve(n1 as Room, memory(0));
    expect(place([n1, n2] as Room[], request()).nodeIds).toEqual(['id-n2']);
    expect(
      place(rooms(input('n1', { memoryMiB: 512 }), input('n2')), request({ reservations: memory(1) })).nodeIds,
    ).toHaveLength(1);
    const [small, large] = rooms(input('n1'), input('n2'));
    reserve(small as Room, memory(600));
    reserve(large as Room, memory(100));
    expect(place([small, large] as Room[], request()).nodeIds).toEqual(['id-n2']);
    expect(place(rooms(input('n2'), input('n1')), request()).nodeIds).toEqual(['id-n1']);
  });

  it('fills up level by level, and each node only as far as it has room', () => {
    const result = place(
      rooms(input('n1', { memoryMiB: 100 }), input('n2', { memoryMiB: 350 })),
      request({ count: 5, reservations: memory(100) }),
    );
    expect(result.nodeIds).toEqual(['id-n1', 'id-n2', 'id-n2', 'id-n2']);
    expect(result.reason).toBe('0/2 nodes fit: 2 lack memory (need 100 MiB, free 50 MiB)');
  });

  it('puts no more on a node than it has addresses for', () => {
    const result = place(rooms(input('n1'), input('n2')), request({ count: 2 * maxTasksPerNode + 5 }));
    expect(result.nodeIds).toHaveLength(2 * maxTasksPerNode);
    expect(result.reason).toBe(`0/2 nodes fit: 2 have ${String(maxTasksPerNode)} tasks already`);
  });

  it('comes to an avoided node last', () => {
    const avoid = new Set(['id-n1']);
    expect(place(rooms(input('n1'), input('n2')), request({ count: 2, avoid })).nodeIds).toEqual(['id-n2', 'id-n2']);
    expect(place(rooms(input('n1'), input('n2', { availability: 'pause' })), request({ avoid })).nodeIds).toEqual([
      'id-n1',
    ]);
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
    expect(place(rooms(...nodes), request({ reservations }))).toEqual({ nodeIds: [], reason: expected });
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
        const { nodeIds, reason } = place(all, request({ count, reservations }));
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
        const { nodeIds } = place(all, request({ count }));
        expect(nodeIds).toHaveLength(count);
        const totals = all.map((room) => room.tasks);
        expect(Math.max(...totals) - Math.min(...totals)).toBeLessThanOrEqual(1);
      }),
    );
  });
});
