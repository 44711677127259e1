import { describe, expect, it, vi } from 'vitest';
import { startControlLoop } from '../../../controller/loop/control-loop.ts';
import type { LoopPorts } from '../../../controller/loop/control-loop.ts';
import type { Change, Plan, Snapshot } from '../../../controller/plan/snapshot.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import { silentLogger } from '../../../proto/base/log.ts';

const calm: Plan = { changes: [], reasons: new Map() };
const change: Change = { kind: 'delete-task', id: 'a', modRevision: 1 };

function ports(plan: LoopPorts['plan'], over: Partial<LoopPorts> = {}): LoopPorts {
  return {
    snapshot: () => ({}) as Snapshot,
    liveness: () => new Map(),
    plan,
    commit: () => Promise.resolve({ conflicts: 0 }),
    clock: { now: () => ({ monoMs: monoMs(0), wallMs: wallMs(1_000) }) },
    newId: () => 'id',
    hash: (text) => text,
    logger: silentLogger,
    ...over,
  };
}

describe('control loop', () => {
  it('passes at the start and after a wake; many wakes are one pass', async () => {
    let passes = 0;
    const loop = startControlLoop(ports(() => ((passes += 1), calm)));
    await vi.waitFor(() => {
      expect(passes).toBe(1);
    });
    for (let n = 0; n < 50; n += 1) loop.wake();
    await loop.passed();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(passes).toBeLessThanOrEqual(3);
    await loop.close();
  });

  it('commits what is planned and looks again until there is nothing left', async () => {
    const committed: Change[][] = [];
    const loop = startControlLoop(
      ports(() => (committed.length === 0 ? { ...calm, changes: [change] } : calm), {
        commit: (changes) => {
          committed.push([...changes]);
          return Promise.resolve({ conflicts: 0 });
        },
      }),
    );
    await loop.passed();
    expect(committed).toEqual([[change]]);
    await loop.close();
  });

  it('wakes by itself when a delay ends', async () => {
    let passes = 0;
    const loop = startControlLoop(ports(() => ((passes += 1), { ...calm, wakeAtMs: 1_020 })));
    await vi.waitFor(() => {
      expect(passes).toBeGreaterThan(2);
    });
    await loop.close();
  });

  it('survives a failing store, keeps the reasons of the last plan, and tells who waits', async () => {
    const loop = startControlLoop(
      ports(() => ({ changes: [change], reasons: new Map([['t', '0/3 nodes fit']]) }), {
        commit: () => Promise.reject(new Error('disk full')),
      }),
    );
    await loop.passed();
    expect(loop.reasons().get('t')).toBe('0/3 nodes fit');
    await loop.close();
  });
});
