import { describe, expect, it } from 'vitest';
import { givenUp, leaseLeftMs } from '../../../controller/plan/leases.ts';
import { plan } from '../../../controller/plan/plan.ts';
import type { Leases, Snapshot } from '../../../controller/plan/snapshot.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import type { NodeState } from '../../../proto/domain/node.ts';
import { leaseEndsAfterMs } from '../../../proto/domain/fencing.ts';
import { defaultUpdatePolicy } from '../../../proto/domain/update.ts';
import { aNode, aServiceSpec, aStack, aStatus, aTask, aTemplate, startMs } from '../../builders/domain.ts';
import { changedTask, created, running, settle, threeNodes, withStates } from './fixture.ts';

const leaseMs = 10_000;
const fenced = aTemplate({ fenceLeaseMs: leaseMs });
const holdsMs = leaseEndsAfterMs(leaseMs);
const one = (over: Parameters<typeof running>[1] = {}): Snapshot =>
  running(1, {
    stacks: [aStack('shop', [aServiceSpec({ template: fenced })])],
    tasks: [aTask({ id: 't1', template: fenced, fence: 7, nodeId: 'id-n1' })],
    ...over,
  });
const leases = (answeredAtMs?: number, leaderSinceMs = 0): Leases => ({
  leaderSinceMs: monoMs(leaderSinceMs),
  answeredAtMs: new Map(answeredAtMs === undefined ? [] : [['t1', monoMs(answeredAtMs)]]),
});
const at = (ms: number) => ({ monoMs: monoMs(ms), wallMs: wallMs(startMs + 60_000 + ms) });
const lost: Record<string, NodeState> = { 'id-n1': 'down' };

describe('a lease', () => {
  const task = aTask({ id: 't1', template: fenced });

  it('holds for its length and the slack after the last answer, and after the lead began', () => {
    expect(leaseLeftMs(task, leases(5_000), monoMs(5_000))).toBe(holdsMs);
    expect(leaseLeftMs(task, leases(5_000), monoMs(5_000 + holdsMs - 1))).toBe(1);
    expect(leaseLeftMs(task, leases(5_000), monoMs(5_000 + holdsMs))).toBe(0);
    expect(leaseLeftMs(task, leases(undefined, 3_000), monoMs(3_000 + holdsMs - 1))).toBe(1);
    expect(leaseLeftMs(task, leases(1_000, 3_000), monoMs(3_000 + holdsMs - 1))).toBe(1);
  });

  it('is nothing to a task that is not fenced', () => {
    expect(leaseLeftMs(aTask({ id: 't1' }), leases(5_000), monoMs(5_000))).toBe(0);
  });
});

describe('the slot of a fenced task on a lost node', () => {
  it('waits for the lease, says so, and wakes the loop then; then it is given up and replaced in one pass', () => {
    const snapshot = one();
    const early = withStates(snapshot, lost, { now: at(4_000), leases: leases(1_000) });
    const waits = plan(snapshot, early);
    expect(waits.changes).toEqual([]);
    expect(waits.reasons.get('t1')).toContain('after node n1 was last answered');
    expect(waits.wakeAtMs).toBe(at(1_000 + holdsMs).wallMs);
    expect(givenUp(waits.changes)).toEqual([]);

    const late = plan(snapshot, withStates(snapshot, lost, { now: at(1_000 + holdsMs), leases: leases(1_000) }));
    expect(changedTask(late, 't1')?.orphaned).toBe(true);
    expect(created(late).map(({ slot, fence }) => [slot, fence])).toEqual([[1, snapshot.revision]]);
    expect(givenUp(late.changes)).toEqual(['t1']);
  });

  it('waits a whole lease when the controller is new, whatever the judge says', () => {
    const snapshot = one();
    const now = at(holdsMs - 1);
    expect(plan(snapshot, withStates(snapshot, lost, { now, leases: leases() })).changes).toEqual([]);
  });

  it('waits as well when the node has left the cluster, the slot is no longer wanted, or the service is removed', () => {
    const input = { now: at(4_000), leases: leases(1_000) };
    const withoutNode = one({ nodes: threeNodes.slice(1) });
    expect(created(plan(withoutNode, withStates(withoutNode, {}, input)))).toEqual([]);
    const unwanted = one({ stacks: [] });
    const retired = plan(unwanted, withStates(unwanted, lost, input));
    expect(changedTask(retired, 't1')).toMatchObject({ desired: 'shutdown' });
    expect(changedTask(retired, 't1')?.orphaned).toBeUndefined();
    const retiredTask = aTask({ id: 't1', template: fenced, fence: 7, nodeId: 'id-n1', desired: 'shutdown' });
    const again = one({ tasks: [retiredTask] });
    expect(created(plan(again, withStates(again, lost, input)))).toEqual([]);
  });

  it('is filled at once when the agent has told that the task ended', () => {
    const snapshot = one({ statuses: [aStatus('t1', 'failed')] });
    const input = withStates(snapshot, lost, { now: at(4_000), leases: leases(1_000) });
    expect(created(plan(snapshot, input))).toHaveLength(1);
  });

  it('waits for nothing where the service is not fenced', () => {
    const snapshot = running(1);
    expect(created(plan(snapshot, withStates(snapshot, lost, { leases: leases(0) })))).toHaveLength(1);
  });
});

describe('a fenced service', () => {
  const startFirst = { ...defaultUpdatePolicy, order: 'start-first' as const };

  it('is updated stop-first whatever its policy says, also when it begins or ceases to be fenced', () => {
    for (const [before, after] of [
      [fenced, aTemplate({ fenceLeaseMs: leaseMs, generation: 1 })],
      [fenced, aTemplate({ generation: 1 })],
      [aTemplate(), fenced],
    ] as const) {
      const snapshot = one({
        stacks: [aStack('shop', [aServiceSpec({ template: after, update: startFirst })])],
        tasks: [aTask({ id: 't1', template: before, nodeId: 'id-n1' })],
      });
      const next = settle(snapshot, withStates(snapshot, {}, { now: at(0) }));
      const tasks = [...next.tasks.values()].map(({ value }) => value);
      expect(tasks.map(({ id, desired }) => [id, desired])).toEqual([['t1', 'shutdown']]);
    }
  });

  it('leaves a drained node stop-first', () => {
    const snapshot = one({ nodes: [aNode('n1', { availability: 'drain' }), aNode('n2')] });
    const next = settle(snapshot, withStates(snapshot, {}, { now: at(0) }));
    expect([...next.tasks.values()].map(({ value }) => [value.id, value.desired])).toEqual([['t1', 'shutdown']]);
  });
});
