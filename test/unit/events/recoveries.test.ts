import { describe, expect, it } from 'vitest';
import { createRecoveries } from '../../../controller/events/recoveries.ts';
import type { Change } from '../../../controller/plan/snapshot.ts';
import type { NewEvent } from '../../../proto/domain/event.ts';
import type { NodeLiveness } from '../../../proto/domain/node.ts';
import type { Task } from '../../../proto/domain/task.ts';
import { aNode, aSnapshot, aStatus, aTask, startMs } from '../../builders/domain.ts';

const first = aTask({ id: 'a', nodeId: 'id-n1' });
const second = aTask({ id: 'b', nodeId: 'id-n2', attempt: 1 });
const put = (task: Task): Change => ({ kind: 'put-task', task, modRevision: 1 });

/** Times are milliseconds since `startMs`. */
function world(tasks: readonly Task[] = [first, second]) {
  const told: NewEvent[] = [];
  const clock = { ms: 0 };
  const leading = new Set<string>();
  const liveness = new Map<string, NodeLiveness>();
  const recoveries = createRecoveries({
    snapshot: () => aSnapshot({ nodes: [aNode('n1'), aNode('n2')], tasks }),
    liveness: () => liveness,
    leadsEverywhere: ({ id }) => leading.has(id),
    nowMs: () => startMs + clock.ms,
    tell: (events) => told.push(...events),
  });
  return {
    told,
    lose: (nodeId: string) =>
      liveness.set(nodeId, {
        state: 'down',
        sinceMs: startMs + 800,
        silentSinceMs: startMs,
        suspectedAtMs: startMs + 600,
      }),
    commit: (ms: number, ...committed: readonly Task[]) => {
      clock.ms = ms;
      recoveries.committed(committed.map(put), { plannedAtMs: startMs + ms - 3, committedAtMs: startMs + ms });
    },
    report: (ms: number, ...status: Parameters<typeof aStatus>) => {
      clock.ms = ms;
      recoveries.reported(aStatus(...status));
    },
    lead: (ms: number, id: string, unitKeys?: ReadonlySet<string>) => {
      clock.ms = ms;
      leading.add(id);
      recoveries.look(unitKeys);
    },
  };
}

const orphaned = { ...first, orphaned: true, desired: 'shutdown' as const };

describe('a recovery', () => {
  it('of a lost node is told phase by phase, once every port and name leads to the replacement', () => {
    const { told, lose, commit, report, lead } = world();
    lose('id-n1');
    commit(810, orphaned, second);
    report(815, 'b', 'accepted');
    report(880, 'b', 'ready');
    report(890, 'b', 'starting');
    report(900, 'b', 'running');
    expect(told).toEqual([]);
    lead(920, 'b');
    expect(told).toEqual([
      {
        kind: 'task.recovered',
        stack: 'shop',
        service: 'web',
        slot: 1,
        taskId: 'b',
        node: 'n2',
        message:
          'is in every port and name 920 ms after the loss (suspected 600, confirmed 800, planned 807, committed 810, received 815, created 880, running 900)',
        cause: 'takes the place of a: node n1 was lost',
        recovery: {
          suspected: 600,
          confirmed: 800,
          planned: 807,
          committed: 810,
          received: 815,
          created: 880,
          running: 900,
          inForce: 920,
        },
        revision: 0,
      },
    ]);
    lead(930, 'b');
    expect(told).toHaveLength(1);
  });

  it('is looked at when something is in force of its own service only', () => {
    const { told, commit, report, lead } = world();
    report(0, 'a', 'failed', { finishedAtMs: startMs });
    commit(10, second);
    report(20, 'b', 'running');
    lead(30, 'b', new Set(['service:shop/api']));
    expect(told).toEqual([]);
    lead(40, 'b', new Set(['service:shop/web']));
    expect(told.map(({ recovery }) => recovery?.inForce)).toEqual([40]);
  });

  it('of a task begins with its end, as its agent dated it', () => {
    const { told, commit, report, lead } = world();
    report(30, 'a', 'failed', { finishedAtMs: startMs + 10, reason: 'ended by SIGKILL' });
    commit(40, { ...first, desired: 'shutdown' }, second);
    report(100, 'b', 'running');
    lead(110, 'b');
    expect(told[0]?.recovery).toEqual({
      confirmed: 20,
      planned: 27,
      committed: 30,
      received: 90,
      created: 90,
      running: 90,
      inForce: 100,
    });
    expect(told[0]?.cause).toBe('takes the place of a: ended by SIGKILL');
  });

  it('of a replacement that is lost, too, counts from the first loss', () => {
    const third = aTask({ id: 'c', nodeId: 'id-n1', attempt: 2 });
    const { told, commit, report, lead } = world([first, second, third]);
    report(0, 'a', 'failed', { finishedAtMs: startMs });
    commit(10, second);
    report(500, 'b', 'rejected', { reason: 'no image' });
    commit(510, third);
    report(600, 'c', 'running');
    lead(620, 'c');
    expect(told.map(({ taskId, recovery }) => [taskId, recovery?.inForce])).toEqual([['c', 620]]);
  });

  it.each<[string, Task, Parameters<typeof aStatus>]>([
    ['what was told to stop', aTask({ id: 'a', desired: 'shutdown', nodeId: 'id-n1' }), ['a', 'failed']],
    ['what stopped as it was told', first, ['a', 'shutdown']],
  ])('is none of %s', (_, task, status) => {
    const { told, commit, report, lead } = world([task, second]);
    report(0, ...status);
    commit(10, second);
    report(20, 'b', 'running');
    lead(30, 'b');
    expect(told).toEqual([]);
  });

  it('is none of another version in the slot', () => {
    const newer = { ...second, templateHash: 'other' };
    const { told, commit, report, lead } = world([first, newer]);
    report(0, 'a', 'complete', { finishedAtMs: startMs });
    commit(9_000, newer);
    report(9_100, 'b', 'running');
    lead(9_200, 'b');
    expect(told).toEqual([]);
  });

  it('ends untold when the replacement is not wanted any more', () => {
    const { told, commit, report, lead } = world([first, { ...second, desired: 'shutdown' }]);
    report(0, 'a', 'failed', { finishedAtMs: startMs });
    commit(10, second);
    report(20, 'b', 'running');
    lead(30, 'b');
    expect(told).toEqual([]);
  });
});
