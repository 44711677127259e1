import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { localAttempt, localRestart, replacedBy, successorOf } from '../../../agent/reconcile/local-restart.ts';
import type { EndedTask } from '../../../agent/reconcile/local-restart.ts';
import { isReplaced, succeed } from '../../../proto/domain/restart-policy.ts';
import type { RestartRule } from '../../../proto/domain/assignment.ts';
import type { RestartPolicy } from '../../../proto/domain/service.ts';
import { assignedTask } from '../../fakes/agent-ports.ts';
import { aStatus, aTask } from '../../builders/domain.ts';

const nowMs = 1_000_000;
const rule = (policy: RestartPolicy, over: Partial<RestartRule> = {}): RestartRule => ({
  ...{ policy, attempt: 2, quickFailures: 0, restarts: 2, restartedBeforeMs: [] },
  ...over,
});

/** It has run for a minute, and failed just now. */
const failed = (restart: RestartRule | undefined, over: Partial<EndedTask> = {}): EndedTask => ({
  assigned: assignedTask('a', restart === undefined ? {} : { restart }),
  acceptedAtMs: nowMs - 61_000,
  startedAtMs: nowMs - 60_000,
  end: { state: 'failed', exitCode: 1, finishedAtMs: nowMs },
  ...over,
});
const after = (task: EndedTask) => localRestart(task, nowMs);
const complete: EndedTask['end'] = { state: 'complete', exitCode: 0, finishedAtMs: nowMs };

describe('what becomes of an ended task while no controller can be reached', () => {
  it('it is replaced at once, and the counts go on', () => {
    expect(after(failed(rule({ condition: 'any' })))).toEqual({
      kind: 'replace',
      rule: rule({ condition: 'any' }, { attempt: 3, restarts: 3 }),
    });
  });

  it.each([
    ['its service is declared no more', failed(undefined)],
    ['it is fenced', failed(undefined, { assigned: assignedTask('a', { fence: 7, restart: rule({ condition: 'any' }) }) })],
    ['its policy is none', failed(rule({ condition: 'none' }))],
    ['it has completed, and only failures count', failed(rule({ condition: 'on-failure' }), { end: complete })],
    ['its attempts are used up', failed(rule({ condition: 'any', maxAttempts: 2 }))],
    ['it is to stop', failed(undefined, { assigned: assignedTask('a', { desired: 'shutdown', restart: rule({ condition: 'any' }) }) })],
  ])('it stays ended where %s', (_why, task) => {
    expect(after(task)).toEqual({ kind: 'none' });
  }); // prettier-ignore

  it('it waits for a declared delay, and for one that grows with quick failures', () => {
    const declared = failed(rule({ condition: 'any', delayMs: 7_000 }));
    expect(after(declared)).toEqual({ kind: 'wait', untilMs: nowMs + 7_000 });
    expect(localRestart(declared, nowMs + 7_000)).toMatchObject({ kind: 'replace' });
    const quick = failed(rule({ condition: 'any' }, { quickFailures: 2 }), { startedAtMs: nowMs - 1_000 });
    expect(after(quick)).toEqual({ kind: 'wait', untilMs: nowMs + 2_000 });
    expect(localRestart(quick, nowMs + 2_000)).toMatchObject({ kind: 'replace', rule: { quickFailures: 3 } });
  });

  it('a clock that was set back makes nobody wait', () => {
    expect(localRestart(failed(rule({ condition: 'any', delayMs: 7_000 })), nowMs - 1)).toMatchObject({ kind: 'replace' });
  }); // prettier-ignore

  it('within a window only what the window holds counts', () => {
    const policy = { condition: 'any', maxAttempts: 1, windowMs: 70_000 } as const;
    // 61 s ago it was accepted: 5 s before that is within 70 s, 20 s is not.
    expect(after(failed(rule(policy, { restartedBeforeMs: [5_000] })))).toEqual({ kind: 'none' });
    expect(after(failed(rule(policy, { restartedBeforeMs: [20_000] })))).toMatchObject({ kind: 'replace' });
  });

  it('decides as the controller would, whatever this host’s clock says', () => {
    const policies: fc.Arbitrary<RestartPolicy> = fc.record(
      {
        condition: fc.constantFrom('any' as const, 'on-failure' as const),
        maxAttempts: fc.integer({ min: 0, max: 4 }),
        windowMs: fc.integer({ min: 1, max: 100_000 }),
        delayMs: fc.integer({ min: 0, max: 50_000 }),
      },
      { requiredKeys: ['condition'] },
    );
    const world = fc.record({
      policy: policies,
      quickFailures: fc.nat(6),
      restarts: fc.nat(5),
      before: fc.array(fc.nat(100_000), { maxLength: 4 }),
      startedAfterMs: fc.nat(20_000),
      ranMs: fc.nat(30_000),
      code: fc.constantFrom(0, 1),
      skewMs: fc.integer({ min: -500_000, max: 500_000 }),
    });
    fc.assert(
      fc.property(world, ({ policy, quickFailures, restarts, before, startedAfterMs, ranMs, code, skewMs }) => {
        const createdAtMs = nowMs;
        const startedAtMs = createdAtMs + startedAfterMs;
        const finishedAtMs = startedAtMs + ranMs;
        const state = code === 0 ? 'complete' : 'failed';
        const restartedBeforeMs = before.sort((a, b) => b - a);
        const task = aTask({ nodeId: 'n', createdAtMs, quickFailures, restarts, restartedAtMs: restartedBeforeMs.map((ms) => createdAtMs - ms) }); // prettier-ignore
        const status = aStatus(task.id, state, { startedAtMs, finishedAtMs });
        const own: EndedTask = {
          assigned: assignedTask('a', { restart: { policy, attempt: 0, quickFailures, restarts, restartedBeforeMs } }),
          acceptedAtMs: createdAtMs + skewMs,
          startedAtMs: startedAtMs + skewMs,
          end: { state, exitCode: code, finishedAtMs: finishedAtMs + skewMs },
        };
        const local = localRestart(own, finishedAtMs + skewMs);
        if (!isReplaced(policy, task, status)) {
          expect(local).toEqual({ kind: 'none' });
          return;
        }
        const theirs = succeed(policy, task, status, finishedAtMs);
        const dueMs = (theirs.notBeforeMs ?? finishedAtMs) + skewMs;
        if (theirs.notBeforeMs !== undefined) expect(local).toEqual({ kind: 'wait', untilMs: dueMs });
        const due = localRestart(own, dueMs);
        expect(due).toMatchObject({
          kind: 'replace',
          rule: { attempt: theirs.attempt, quickFailures: theirs.quickFailures, restarts: theirs.restarts },
        });
        if (due.kind !== 'replace') return;
        const told = localAttempt({ assigned: successorOf(own.assigned, 'b', due.rule), acceptedAtMs: dueMs, replaces: ['a'] }); // prettier-ignore
        expect(told.restartedAtMs.map((ms) => ms - skewMs)).toEqual(theirs.restartedAtMs);
      }),
    );
  });
});

describe('what an attempt says that it replaces', () => {
  it('the latest, and always the one that was assigned', () => {
    expect(replacedBy('a')).toEqual(['a']);
    expect(replacedBy('b', ['a'])).toEqual(['b', 'a']);
    let chain = replacedBy('first');
    for (let made = 0; made < 50; made += 1) chain = replacedBy(`t${String(made)}`, chain);
    expect(chain).toHaveLength(9);
    expect([chain[0], chain.at(-1)]).toEqual(['t49', 'first']);
  });
});
