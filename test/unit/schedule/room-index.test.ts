/** The index is about cost alone: whatever comes in what order, tasks go where a look at every node would have put them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openPlacing, place } from '../../../controller/schedule/place.ts';
import { openRoomIndex } from '../../../controller/schedule/room-index.ts';
import { RoomQueue } from '../../../controller/schedule/room-queue.ts';
import { openRooms, reserve } from '../../../controller/schedule/rooms.ts';
import type { NodeInput, Room } from '../../../controller/schedule/rooms.ts';
import { bySpread } from '../../../controller/schedule/scores/spread.ts';
import type { Placement } from '../../../proto/domain/placement.ts';
import { aFacts, aNode, MiB } from '../../builders/domain.ts';

const value = fc.constantFrom('a', 'b', 'c', undefined);
const node = fc.record({
  zone: value,
  rack: value,
  availability: fc.constantFrom('active', 'active', 'active', 'drain' as const),
  state: fc.constantFrom('ready', 'ready', 'ready', 'suspect' as const, undefined),
  cpuMillis: fc.constantFrom(500, 1_000, 4_000),
});
const nodes = fc.array(node, { maxLength: 12 }).map((list) =>
  list.map((drawn, index): NodeInput => {
    const { zone, rack, availability, state, cpuMillis } = drawn;
    const labels = { ...(zone === undefined ? {} : { zone }), ...(rack === undefined ? {} : { rack }) };
    const one = aNode(`n${String(index)}`, { availability, labels });
    return { node: one, facts: aFacts(one.id, { capacity: { cpuMillis, memoryBytes: 512 * MiB } }), state };
  }),
);
const placement: fc.Arbitrary<Placement> = fc.record(
  {
    constraints: fc.constantFrom<Placement['constraints']>(
      [],
      [],
      [{ attribute: 'node.labels.zone', operator: '==', value: 'a' }],
      [{ attribute: 'node.labels.zone', operator: '!=', value: 'b' }],
    ),
    spread: fc.constantFrom<Placement['spread']>(
      [],
      ['node.labels.zone'],
      ['node.labels.zone', 'node.labels.rack'],
      ['node.nothing'],
    ),
    maxReplicasPerNode: fc.integer({ min: 1, max: 3 }),
  },
  { requiredKeys: ['constraints', 'spread'] },
);
const index = fc.nat({ max: 12 });
const batch = fc.record({
  placement,
  count: fc.nat({ max: 20 }),
  cpuMillis: fc.constantFrom(0, 100, 400),
  owners: fc.array(fc.tuple(index, fc.integer({ min: 1, max: 3 })), { maxLength: 5 }),
  stopping: fc.array(index, { maxLength: 2 }),
  images: fc.array(index, { maxLength: 3 }),
  /** What the index is not told: a pinned task gets its node in between. */
  reserved: fc.array(index, { maxLength: 3 }),
});

function run(inputs: readonly NodeInput[], batches: readonly BatchOf[], indexed: boolean) {
  const rooms = openRooms(inputs);
  const shelves = indexed ? openRoomIndex(rooms) : undefined;
  const list = [...rooms.values()];
  const idOf = (at: number): string => `id-n${String(at)}`;
  return batches.map(({ placement, count, cpuMillis, owners, stopping, images, reserved }) => {
    const wantedOnNode = new Map(owners.map(([at, own]) => [idOf(at), own]));
    const liveOnNode = new Map(wantedOnNode);
    for (const at of stopping) liveOnNode.set(idOf(at), (liveOnNode.get(idOf(at)) ?? 0) + 1);
    const reservations = { cpuMillis, memoryBytes: MiB };
    for (const at of reserved) {
      const room = rooms.get(idOf(at));
      if (room !== undefined) reserve(room, reservations);
    }
    const placing = openPlacing({ reservations, placement, wantedOnNode, liveOnNode });
    const request = {
      count,
      prefer: new Set<string>(),
      avoid: new Set<string>(),
      haveImage: new Set(images.map(idOf)),
    };
    return place(list, placing, request, shelves);
  });
}
type BatchOf = typeof batch extends fc.Arbitrary<infer T> ? T : never;

describe('the index of rooms', () => {
  it('places every batch where a look at every node would', () => {
    let placed = 0;
    fc.assert(
      fc.property(nodes, fc.array(batch, { maxLength: 6 }), (inputs, batches) => {
        const expected = run(inputs, batches, false);
        expect(run(inputs, batches, true)).toEqual(expected);
        placed += expected.reduce((sum, { nodeIds }) => sum + nodeIds.length, 0);
      }),
      { numRuns: 1_000 },
    );
    expect(placed).toBeGreaterThan(1_000);
  });

  it('asks only a few nodes of many for a small batch, but for the first', () => {
    let asked = 0;
    const inputs = Array.from({ length: 2_000 }, (_, at): NodeInput => {
      const one = aNode(`n${String(at)}`);
      return { node: one, facts: aFacts(one.id), state: 'ready' };
    });
    const rooms = openRooms(inputs);
    const shelves = openRoomIndex(rooms);
    for (let count = 0; count < 100; count += 1) {
      const placing = openPlacing({
        reservations: { cpuMillis: 100, memoryBytes: MiB },
        placement: { constraints: [], spread: [] },
        wantedOnNode: new Map(),
        liveOnNode: new Map(),
      });
      const counting = {
        get: (id: string): number | undefined => {
          asked += 1;
          return placing.claim.liveOnNode.get(id);
        },
      };
      const claim = { ...placing.claim, maxPerNode: 1, liveOnNode: counting as unknown as ReadonlyMap<string, number> };
      const request = { count: 3, prefer: new Set<string>(), avoid: new Set<string>() };
      expect(place([], { ...placing, claim }, request, shelves).nodeIds).toHaveLength(3);
    }
    expect(asked).toBeLessThan(100 * 10);
  });
});

describe('the queue of rooms', () => {
  it('gives the emptiest first, whatever was reserved since a room was put', () => {
    const step = fc.oneof(fc.record({ reserve: index }), fc.constant('take' as const), fc.constant('put' as const));
    fc.assert(
      fc.property(nodes, fc.array(step, { maxLength: 40 }), (inputs, steps) => {
        const rooms = [...openRooms(inputs).values()];
        const inside = new Set(rooms);
        const taken: Room[] = [];
        const queue = new RoomQueue(rooms);
        for (const each of steps) {
          if (each === 'take') {
            const room = queue.take();
            expect(room).toBe([...inside].sort(bySpread)[0]);
            if (room === undefined) continue;
            inside.delete(room);
            taken.push(room);
          } else if (each === 'put') {
            const room = taken.pop();
            if (room === undefined) continue;
            inside.add(room);
            queue.put(room);
          } else {
            const room = rooms[each.reserve];
            if (room !== undefined) reserve(room, { cpuMillis: 100, memoryBytes: MiB });
          }
        }
      }),
    );
  });
});
