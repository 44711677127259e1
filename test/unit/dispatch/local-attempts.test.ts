import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { settleLocalAttempts } from '../../../controller/dispatch/adopt.ts';
import { judgeLocalAttempts } from '../../../controller/dispatch/local-attempts.ts';
import type { LocalAttempt } from '../../../controller/dispatch/local-attempts.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import type { LocalReport } from '../../../proto/codec/status-report.ts';
import type { RestartPolicy } from '../../../proto/domain/service.ts';
import { isTaskId } from '../../../proto/domain/task.ts';
import type { Task } from '../../../proto/domain/task.ts';
import { aNode, aServiceSpec, aSnapshot, aStack, aStatus, aTask, aTemplate, startMs } from '../../builders/domain.ts';

const old = 'taskold00001';
const made = 'taskmade0001';
const nowMs = startMs + 60_000;

const local = (over: Partial<LocalReport> = {}): LocalReport => ({
  ...{ replaces: [old], createdAgoMs: 5_000, attempt: 4, quickFailures: 1, restarts: 3, restartedAgoMs: [9_000, 5_000] },
  ...over,
}); // prettier-ignore
const attempt = (over: Partial<LocalReport> = {}, taskId = made): LocalAttempt => ({ taskId, local: local(over) });

function world(
  task: Partial<Task> = {},
  { others = [], restart = { condition: 'any' } }: { others?: readonly Task[]; restart?: RestartPolicy } = {},
): Snapshot {
  const holder = aTask({ id: old, nodeId: 'id-n1', attempt: 1, restarts: 1, ...task });
  return aSnapshot({
    nodes: [aNode('n1'), aNode('n2')],
    stacks: [aStack('shop', [aServiceSpec({ restart, replicas: 2 })])],
    tasks: [holder, ...others],
    statuses: [aStatus(old, 'running')],
  });
}
const judge = (snapshot: Snapshot, ...attempts: readonly LocalAttempt[]) =>
  judgeLocalAttempts(snapshot, 'id-n1', attempts, nowMs);

describe('a task that a node made by itself', () => {
  it('takes the place of the one it came after, with its counts', () => {
    const { adoptions, unwanted } = judge(world(), attempt());
    expect(unwanted).toEqual([]);
    expect(adoptions).toHaveLength(1);
    const before = world().tasks.get(old)?.value;
    expect(adoptions[0]?.task).toEqual({
      ...before,
      ...{ id: made, byNode: true, attempt: 4, quickFailures: 1, restarts: 3, createdAtMs: nowMs - 5_000 },
    });
    expect(adoptions[0]?.predecessor).toMatchObject({ id: old, desired: 'shutdown' });
  });

  it('tells when it was restarted where its policy has a window', () => {
    const { adoptions } = judge(world({}, { restart: { condition: 'any', windowMs: 60_000 } }), attempt());
    expect(adoptions[0]?.task.restartedAtMs).toEqual([nowMs - 9_000, nowMs - 5_000]);
  });

  it('is found by what it replaced before, where a controller has never heard of the latest', () => {
    const { adoptions } = judge(world(), attempt({ replaces: ['taskunknown1', old] }));
    expect(adoptions).toHaveLength(1);
  });

  it.each<[string, Snapshot, LocalAttempt]>([
    ['the slot is not wanted any more', world({ desired: 'shutdown' }), attempt()],
    ['the slot was placed elsewhere', world({ orphaned: true }, { others: [aTask({ id: 'taskmoved001', nodeId: 'id-n2', attempt: 2 })] }), attempt()],
    ['a replacement is on its way', world({}, { others: [aTask({ id: 'taskbeside01', attempt: 2 })] }), attempt()],
    ['it came after nothing that is known', world(), attempt({ replaces: ['taskunknown1'] })],
    ['it came after nothing', world(), attempt({ replaces: [] })],
    ['it came after a task of another node', world({ nodeId: 'id-n2' }), attempt()],
    ['its slot is fenced', world({ fence: 7, template: aTemplate({ fenceLeaseMs: 10_000 }) }), attempt()],
    ['its service restarts nothing', world({}, { restart: { condition: 'none' } }), attempt()],
    ['its id is none', world(), attempt({}, '../../etc/x')],
    ['its id is another node’s', world({}, { others: [aTask({ id: made, slot: 2, nodeId: 'id-n2' })] }), attempt()],
    ['it was adopted, and given up with its node since', world({ desired: 'shutdown' }, { others: [aTask({ id: made, nodeId: 'id-n1', orphaned: true })] }), attempt()],
  ])('is refused where %s', (_why, snapshot, said) => {
    expect(judge(snapshot, said)).toEqual({ adoptions: [], unwanted: [said.taskId] });
  }); // prettier-ignore

  it('is neither adopted nor refused once it is the slot’s', () => {
    const adopted = aTask({ id: made, nodeId: 'id-n1', attempt: 4 });
    expect(judge(world({ desired: 'shutdown' }, { others: [adopted] }), attempt())).toEqual({ adoptions: [], unwanted: [] }); // prettier-ignore
  });

  it('is refused to a node that is no more, and one of two for one slot', () => {
    expect(judgeLocalAttempts(world(), 'id-gone', [attempt()], nowMs).unwanted).toEqual([made]);
    const both = judge(world(), attempt(), attempt({}, 'taskmade0002'));
    expect(both.adoptions.map(({ task }) => task.id)).toEqual([made]);
    expect(both.unwanted).toEqual(['taskmade0002']);
  });

  it('whatever a node says, each slot of its own is given on at most once, and nothing else changes', () => {
    const ids = fc.oneof(fc.constantFrom(old, made, 'taskmade0002', 'taskother001', '', '__proto__'), fc.string());
    const number = fc.oneof(fc.integer(), fc.maxSafeInteger());
    const anything: fc.Arbitrary<LocalAttempt> = fc.record({
      taskId: ids,
      local: fc.record({
        ...{ replaces: fc.array(ids), createdAgoMs: number, attempt: number, quickFailures: number, restarts: number },
        restartedAgoMs: fc.array(number),
      }),
    });
    const others = [aTask({ id: 'taskother001', slot: 2, nodeId: 'id-n2' })];
    fc.assert(
      fc.property(fc.array(anything), (said) => {
        const snapshot = world({}, { others, restart: { condition: 'any', windowMs: 60_000 } });
        const { adoptions, unwanted } = judge(snapshot, ...said);
        expect(adoptions.length).toBeLessThanOrEqual(1);
        const told = said.map(({ taskId }) => taskId);
        for (const { task, predecessor } of adoptions) {
          expect(isTaskId(task.id)).toBe(true);
          expect(snapshot.tasks.has(task.id)).toBe(false);
          expect(predecessor.id).toBe(old);
          expect(task).toMatchObject({ stack: 'shop', service: 'web', slot: 1, nodeId: 'id-n1', desired: 'running' });
          expect(task.attempt).toBeGreaterThan(1);
          expect(task.restarts).toBeGreaterThanOrEqual(1);
          for (const ms of [task.createdAtMs, ...task.restartedAtMs]) expect(ms).toBeLessThanOrEqual(nowMs);
        }
        for (const id of unwanted) expect(told).toContain(id);
      }),
    );
  });
});

describe('settling them', () => {
  const clock = { now: () => ({ monoMs: monoMs(0), wallMs: wallMs(nowMs) }) };
  const report = { taskId: made, state: 'running' as const, health: 'none' as const, sinceAgoMs: 1, local: local() };

  it('judges anew what conflicted', async () => {
    let snapshot = world();
    const adopt = (): Promise<readonly boolean[]> => {
      snapshot = world({ desired: 'shutdown' });
      return Promise.resolve([false]);
    };
    const ports = { snapshot: () => snapshot, adopt, clock, logger: silentLogger };
    expect(await settleLocalAttempts(ports, 'id-n1', [report])).toEqual([made]);
  });

  it('gives up, to be told again, when the records never come to rest', async () => {
    let rounds = 0;
    const adopt = (): Promise<readonly boolean[]> => {
      rounds += 1;
      return Promise.resolve([false]);
    };
    const ports = { snapshot: () => world(), adopt, clock, logger: silentLogger };
    await expect(settleLocalAttempts(ports, 'id-n1', [report])).rejects.toMatchObject({ code: 'conflict' });
    expect(rounds).toBe(5);
  });

  it('asks nobody about what is not a node’s own', async () => {
    const ports = { snapshot: () => world(), adopt: () => Promise.reject(new Error('nobody asked')), clock, logger: silentLogger }; // prettier-ignore
    const { local: _none, ...plain } = report;
    expect(await settleLocalAttempts(ports, 'id-n1', [plain])).toEqual([]);
  });
});
