import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Heap } from '../../../controller/schedule/heap.ts';

interface Item {
  rank: number;
}

describe('the heap', () => {
  it('has the first at its top, whatever sinks, goes and comes', () => {
    const push = fc.record({ push: fc.nat({ max: 20 }) });
    const change = fc.oneof(fc.constant('drop' as const), fc.nat({ max: 20 }), push);
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 20 })), fc.array(change, { maxLength: 40 }), (ranks, changes) => {
        let items: Item[] = ranks.map((rank) => ({ rank }));
        const heap = new Heap<Item>([...items], (a, b) => a.rank - b.rank);
        for (const each of changes) {
          const { top } = heap;
          expect(top?.rank).toBe(items.length === 0 ? undefined : Math.min(...items.map(({ rank }) => rank)));
          if (top === undefined) break;
          if (each === 'drop') {
            items = items.filter((item) => item !== top);
            heap.drop();
          } else if (typeof each === 'object') {
            const item = { rank: each.push };
            items.push(item);
            heap.push(item);
          } else {
            top.rank += each;
            heap.sink();
          }
          expect(heap.size).toBe(items.length);
        }
      }),
    );
  });

  it('costs about twice the number of nodes to build, and log(nodes) a placement', () => {
    let compared = 0;
    const nodes = 5_000;
    const heap = new Heap<Item>(
      Array.from({ length: nodes }, (_, index) => ({ rank: (index * 7919) % nodes })),
      (a, b) => {
        compared += 1;
        return a.rank - b.rank;
      },
    );
    expect(compared).toBeLessThan(2 * nodes);
    compared = 0;
    for (let placement = 0; placement < 1_000; placement += 1) {
      if (heap.top !== undefined) heap.top.rank += nodes;
      heap.sink();
    }
    expect(compared / 1_000).toBeLessThan(2 * Math.ceil(Math.log2(nodes)));
  });
});
