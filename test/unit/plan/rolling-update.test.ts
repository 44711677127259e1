import { describe, expect, it } from 'vitest';
import { plan } from '../../../controller/plan/plan.ts';
import type { Plan, Snapshot } from '../../../controller/plan/snapshot.ts';
import type { TaskState } from '../../../proto/domain/task.ts';
import {
  aFacts,
  aNode,
  aPlanInput,
  aServiceSpec,
  aStack,
  aStatus,
  aTask,
  aTemplate,
  MiB,
  startMs,
} from '../../builders/domain.ts';
import type { SnapshotParts } from '../../builders/domain.ts';

import { changedTask, created, newer, putTasks, running, settle, threeNodes, withStates } from './fixture.ts';

describe('an update', () => {
  const updated = (parts: SnapshotParts = {}, state: TaskState = 'running'): Snapshot =>
    running(3, { stacks: [aStack('shop', [aServiceSpec({ replicas: 3, template: newer })])], ...parts }, state);
  const stopped = (result: Plan): string[] =>
    putTasks(result.changes).flatMap((task) => (task.desired === 'shutdown' ? [task.id] : []));

  it('replaces at once what does not run anyway', () => {
    expect(stopped(plan(updated({}, 'preparing'), aPlanInput(updated())))).toEqual(['t1', 't2', 't3']);
    const pending = updated({ tasks: [1, 2, 3].map((slot) => aTask({ id: `t${String(slot)}`, slot })), statuses: [] });
    const result = plan(pending, aPlanInput(pending));
    expect(result.changes.filter((change) => change.kind === 'delete-task')).toHaveLength(3);
    expect(created(result).map(({ attempt, nodeId }) => [attempt, nodeId !== undefined])).toEqual([
      [0, true],
      [0, true],
      [0, true],
    ]);
  });

  it('waits while a slot of the new template fails', () => {
    const tasks = [
      aTask({ id: 't1', template: newer, nodeId: 'id-n1', attempt: 1, quickFailures: 3 }),
      aTask({ id: 't2', slot: 2, nodeId: 'id-n2' }),
      aTask({ id: 't3', slot: 3, nodeId: 'id-n3' }),
    ];
    const statuses = [aStatus('t1', 'failed'), aStatus('t2', 'running'), aStatus('t3', 'running')];
    const next = settle(updated({ tasks, statuses }), aPlanInput(updated()));
    expect(next.tasks.get('t2')?.value.desired).toBe('running');
    expect(next.tasks.get('t3')?.value.desired).toBe('running');
    expect(next.tasks.get('new-1')?.value.notBeforeMs).toBe(startMs + 4_000);
  });

  it('waits while a node of the service is not heard', () => {
    const snapshot = updated();
    expect(putTasks(plan(snapshot, withStates(snapshot, { 'id-n3': 'unreachable' })).changes)).toEqual([]);
  });

  it.each([
    ['goes on past slots that had no room before, where it takes no more than the old', 300, 'active', ['t1']],
    ['stays where a larger template has no room', 301, 'active', []],
    ['stays where the node takes nothing back', 300, 'pause', []],
  ] as const)('%s', (_, memoryMiB, availability, expected) => {
    const reserving = (miB: number) => ({ reservations: { cpuMillis: 0, memoryBytes: miB * MiB } });
    const template = aTemplate({ ...newer, ...reserving(memoryMiB) });
    const full = updated({
      stacks: [aStack('shop', [aServiceSpec({ replicas: 4, template })])],
      nodes: threeNodes.map((node) => ({ ...node, availability })),
      facts: threeNodes.map(({ id }) => aFacts(id, { capacity: { cpuMillis: 1_000, memoryBytes: 300 * MiB } })),
      tasks: [
        ...[1, 2, 3].map((slot) =>
          aTask({ id: `t${String(slot)}`, slot, nodeId: `id-n${String(slot)}`, template: aTemplate(reserving(300)) }),
        ),
        aTask({ id: 't4', slot: 4, template }),
      ],
    });
    expect(stopped(plan(full, aPlanInput(full)))).toEqual(expected);
  });

  it.each([
    ['restart', { restart: { condition: 'on-failure' } }],
    ['ports', { ports: [{ target: 80, published: 8080, protocol: 'tcp' }] }],
  ] as const)('of %s alone replaces no task', (_, over) => {
    const snapshot = running(3, { stacks: [aStack('shop', [aServiceSpec({ replicas: 3, ...over })])] });
    expect(putTasks(plan(snapshot, aPlanInput(snapshot)).changes)).toEqual([]);
  });

  it('runs a finished job again with its new template', () => {
    const stack = aStack('shop', [aServiceSpec({ template: newer, restart: { condition: 'none' } })]);
    const snapshot = running(1, { stacks: [stack] }, 'complete');
    expect(created(plan(snapshot, aPlanInput(snapshot)))).toHaveLength(1);
  });
});

describe('availability', () => {
  it('pause keeps tasks and takes no new ones', () => {
    const nodes = [aNode('n1', { availability: 'pause' }), aNode('n2')];
    const snapshot = running(1, { nodes, stacks: [aStack('shop', [aServiceSpec({ replicas: 3 })])] });
    const result = plan(snapshot, aPlanInput(snapshot));
    expect(created(result).map((task) => task.nodeId)).toEqual(['id-n2', 'id-n2']);
    expect(changedTask(result, 't1')).toBeUndefined();
  });
});

describe('a removed stack', () => {
  it('has its tasks ended, then deleted, then its service record', () => {
    const snapshot = running(2, {
      stacks: [],
      tasks: [aTask({ id: 't1', nodeId: 'id-n1' }), aTask({ id: 't2', slot: 2 })],
    });
    let next = settle(snapshot, aPlanInput(snapshot));
    expect(next.tasks.get('t1')?.value).toMatchObject({ desired: 'shutdown', desiredReason: 'stack shop was removed' });
    expect([[...next.tasks.keys()], next.services.size]).toEqual([['t1'], 1]);
    next = { ...next, statuses: new Map([['t1', aStatus('t1', 'shutdown')]]) };
    next = settle(next, aPlanInput(next));
    expect([next.tasks.size, next.services.size]).toEqual([0, 0]);
  });

  it('is gone at once from a lost node', () => {
    const snapshot = running(1, { stacks: [] });
    const next = settle(snapshot, withStates(snapshot, { 'id-n1': 'down' }));
    expect([next.tasks.size, next.services.size]).toEqual([0, 0]);
  });

  it('takes only the removed service with it', () => {
    const stack = aStack('shop', [aServiceSpec({ name: 'api', replicas: 0 })]);
    const snapshot = running(1, { stacks: [stack] });
    expect(changedTask(plan(snapshot, aPlanInput(snapshot)), 't1')?.desiredReason).toBe(
      'service web was removed from stack shop',
    );
  });
});

describe('rejections', () => {
  it('send the slot elsewhere after the second on the same node', () => {
    const history = [0, 1].map((attempt) =>
      aTask({ id: `old${String(attempt)}`, attempt, nodeId: 'id-n1', desired: 'shutdown' }),
    );
    const pending = aTask({ id: 't1', attempt: 2 });
    const snapshot = running(1, {
      tasks: [...history, pending],
      statuses: history.map(({ id }) => aStatus(id, 'rejected')),
    });
    expect(changedTask(plan(snapshot, aPlanInput(snapshot)), 't1')?.nodeId).toBe('id-n2');
    const later = aPlanInput(snapshot, { wall: startMs + 5 * 60_000 });
    expect(changedTask(plan(snapshot, later), 't1')?.nodeId).toBe('id-n1');
  });
});
