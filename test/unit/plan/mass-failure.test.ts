import { describe, expect, it } from 'vitest';
import { defaultBrake } from '../../../controller/plan/judge-nodes.ts';
import { plan } from '../../../controller/plan/plan.ts';
import type { NodeLiveness } from '../../../proto/domain/node.ts';
import { aNode, aPlanInput, aService, aSnapshot, aStack, aStatus, aTask, startMs } from '../../builders/domain.ts';

const names = ['n1', 'n2', 'n3'];
const snapshot = aSnapshot({
  nodes: names.map((name, index) => aNode(name, { subnet: `10.64.${String(index)}.0/24` })),
  stacks: [aStack()],
  services: [aService()],
  tasks: [aTask({ nodeId: 'id-n1' })],
  statuses: [aStatus('task-1', 'running')],
});

/** What the plan does `afterMs` after n1 was lost; the others are lost so much later (undefined: ready). */
function lost(afterMs: number, laterMs: readonly (number | undefined)[]) {
  const state = (at: number | undefined): NodeLiveness =>
    at === undefined ? { state: 'ready', sinceMs: startMs } : { state: 'down', sinceMs: startMs + at };
  const liveness = new Map(names.map((name, index) => [`id-${name}`, state([0, ...laterMs][index])]));
  return plan(snapshot, aPlanInput(snapshot, { liveness, wall: startMs + afterMs }));
}

describe('the brake', () => {
  it('one lost node of three is replaced at once', () => {
    expect(lost(0, [undefined, undefined]).changes).not.toEqual([]);
  });

  it('more than half, lost together, are held and it is said; then they are given up', () => {
    const held = lost(200, [100, undefined]);
    expect(held.changes).toEqual([]);
    expect(held.wakeAtMs).toBe(startMs + 100 + defaultBrake.holdMs);
    expect(held.problems?.[0]).toMatchObject({ where: 'nodes n1, n2' });
    expect(lost(100 + defaultBrake.holdMs, [100, undefined]).changes).not.toEqual([]);
  });

  it('those lost one after the other are not', () => {
    const apart = defaultBrake.windowMs + 1;
    expect(lost(apart, [apart, undefined]).changes).not.toEqual([]);
  });

  it('a clock that stepped back holds nobody', () => {
    expect(lost(-60_000, [100, undefined]).changes).not.toEqual([]);
  });
});
