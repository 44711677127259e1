import { describe, expect, it } from 'vitest';
import { plan } from '../../../controller/plan/plan.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import { maxRestartsInWindow } from '../../../proto/domain/validate.ts';
import type { RestartPolicy } from '../../../proto/domain/service.ts';
import type { TaskState } from '../../../proto/domain/task.ts';
import { aPlanInput, aServiceSpec, aStack, aStatus, aTask, startMs } from '../../builders/domain.ts';
import { changedTask, created, running, settle } from './fixture.ts';

const with1 = (restart: RestartPolicy, parts: Parameters<typeof running>[1] = {}): Snapshot =>
  running(1, { stacks: [aStack('shop', [aServiceSpec({ restart })])], ...parts });
const ended = (restart: RestartPolicy, over: Parameters<typeof aTask>[0] = {}, state: TaskState = 'failed'): Snapshot =>
  with1(restart, {
    tasks: [aTask({ id: 't1', nodeId: 'id-n1', ...over })],
    statuses: [aStatus('t1', state)],
  });

describe('a declared delay', () => {
  it('comes before each replacement, the first too, and says what is waited for', () => {
    for (const quickFailures of [0, 5]) {
      const snapshot = ended({ condition: 'any', delayMs: 120_000 }, { quickFailures });
      const result = plan(snapshot, aPlanInput(snapshot));
      expect(created(result)[0]).toMatchObject({ notBeforeMs: startMs + 120_000, restarts: 1 });
      expect(created(result)[0]?.nodeId).toBeUndefined();
      expect([...result.reasons.values()]).toEqual(["waits 120 s, its restart policy's delay"]);
      expect(result.wakeAtMs).toBe(startMs + 120_000);
    }
  });

  it('of zero is no wait, however often it has failed', () => {
    const snapshot = ended({ condition: 'any', delayMs: 0 }, { quickFailures: 9 });
    expect(created(plan(snapshot, aPlanInput(snapshot)))[0]).toMatchObject({ nodeId: 'id-n1' });
  });

  it('does not hold up what was ordered or lost', () => {
    const snapshot = with1(
      { condition: 'any', delayMs: 5_000 },
      {
        tasks: [aTask({ id: 't1', nodeId: 'id-n1', desired: 'shutdown', orphaned: true })],
        statuses: [],
      },
    );
    expect(created(plan(snapshot, aPlanInput(snapshot)))[0]?.nodeId).toBeDefined();
  });
});

describe('attempts within a window', () => {
  const policy: RestartPolicy = { condition: 'any', maxAttempts: 2, windowMs: 60_000, delayMs: 0 };
  const at = (...agoMs: readonly number[]): readonly number[] => agoMs.map((ago) => startMs - ago);

  it.each<[string, readonly number[], boolean]>([
    ['none so far', [], true],
    ['one within', at(59_999), true],
    ['two within', at(59_999, 10), false],
    ['one within and many before', at(500_000, 400_000, 300_000, 60_000, 10), true],
    ['one that a clock set back puts after the end', at(30_000, -5_000), true],
  ])('%s: replaced %s → %s', (_, restartedAtMs, replaced) => {
    const snapshot = ended(policy, { restarts: 40, restartedAtMs });
    expect(created(plan(snapshot, aPlanInput(snapshot))).length).toBe(replaced ? 1 : 0);
  });

  it('count back from the end: a slot that was given up stays so when the window has passed', () => {
    const snapshot = ended(policy, { restartedAtMs: at(20, 10) });
    expect(plan(snapshot, aPlanInput(snapshot, { wall: startMs + 10 * 60_000 })).changes).toEqual([]);
  });

  it('are kept in the record, only those that may still count, and no more than the limit', () => {
    const many = Array.from({ length: 300 }, (_, index) => startMs - 300 + index);
    const snapshot = ended({ ...policy, maxAttempts: 400 }, { restartedAtMs: [startMs - 70_000, ...many] });
    const [task] = created(plan(snapshot, aPlanInput(snapshot)));
    expect(task?.restartedAtMs).toEqual([...many, startMs].slice(-maxRestartsInWindow));
    const without = ended({ condition: 'any', maxAttempts: 5 }, { restartedAtMs: many });
    expect(created(plan(without, aPlanInput(without)))[0]?.restartedAtMs).toEqual([]);
  });

  it('survive everything but the records: a whole life of crashes is cut off after them', () => {
    let snapshot = ended(policy);
    let wall = startMs;
    const attempts: number[] = [];
    for (let round = 0; round < 10; round += 1) {
      const id = `r${String(round)}`;
      snapshot = settle(snapshot, aPlanInput(snapshot, { wall, newId: () => id }));
      const task = snapshot.tasks.get(id)?.value;
      if (task === undefined) break;
      attempts.push(task.attempt);
      wall += 15_000;
      const status = aStatus(id, 'failed', { sinceMs: wall, startedAtMs: wall - 1_000, finishedAtMs: wall });
      snapshot = { ...snapshot, statuses: new Map([...snapshot.statuses, [id, status]]) };
    }
    expect(attempts).toEqual([1, 2]);
  });
});

describe('an unhealthy task', () => {
  const unwell = (
    restart: RestartPolicy,
    over: Parameters<typeof aTask>[0] = {},
    state: TaskState = 'running',
  ): Snapshot =>
    with1(restart, {
      tasks: [aTask({ id: 't1', nodeId: 'id-n1', ...over })],
      statuses: [
        aStatus('t1', state, { health: 'unhealthy', startedAtMs: startMs, reason: 'unhealthy: 3 checks failed' }),
      ],
    });
  const soon = startMs + 3_000;

  it.each<[RestartPolicy, boolean]>([
    [{ condition: 'any' }, true],
    [{ condition: 'on-failure' }, true],
    [{ condition: 'none' }, false],
    [{ condition: 'any', maxAttempts: 1 }, true],
    [{ condition: 'any', maxAttempts: 0 }, false],
  ])('under the policy %j is stopped: %s', (restart, stopped) => {
    const snapshot = unwell(restart);
    const result = plan(snapshot, aPlanInput(snapshot, { wall: soon }));
    expect(created(result)).toEqual([]);
    expect(changedTask(result, 't1')).toEqual(
      stopped
        ? expect.objectContaining({
            desired: 'shutdown',
            unhealthyAtMs: soon,
            desiredReason: 'unhealthy: 3 checks failed',
          })
        : undefined,
    );
  });

  it('that never became healthy is stopped, too', () => {
    const snapshot = unwell({ condition: 'any' }, {}, 'starting');
    expect(changedTask(plan(snapshot, aPlanInput(snapshot)), 't1')?.desired).toBe('shutdown');
  });

  it('is replaced when it has ended, as one that failed: with its restart counted, and the back-off', () => {
    const snapshot = unwell({ condition: 'on-failure', maxAttempts: 3 }, { quickFailures: 1, restarts: 1 });
    const stopping = settle(snapshot, aPlanInput(snapshot, { wall: soon }));
    expect(stopping.tasks.size).toBe(1);
    const status = aStatus('t1', 'shutdown', { startedAtMs: startMs, finishedAtMs: startMs + 60_000, exitCode: 0 });
    const gone = { ...stopping, statuses: new Map([['t1', status]]) };
    const [task] = created(plan(gone, aPlanInput(gone, { wall: startMs + 60_000 })));
    expect(task).toMatchObject({ attempt: 1, restarts: 2, quickFailures: 2, notBeforeMs: startMs + 61_000 });
  });
});
