import { describe, expect, it } from 'vitest';
import { plan } from '../../../controller/plan/plan.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { ServiceSpec } from '../../../proto/domain/service.ts';
import type { Task, TaskState } from '../../../proto/domain/task.ts';
import {
  aFacts,
  aNode,
  aPlanInput,
  aService,
  aServiceSpec,
  aSnapshot,
  aStack,
  aStatus,
  aTask,
  aTemplate,
  MiB,
  sha256,
  startMs,
} from '../../builders/domain.ts';

import { changedTask, created, putTasks, running, settle, threeNodes, withStates } from './fixture.ts';

describe('a new stack', () => {
  it('goes to assigned tasks, spread over the nodes, in one pass', () => {
    const snapshot = aSnapshot({ stacks: [aStack('shop', [aServiceSpec({ replicas: 3 })])], nodes: threeNodes });
    const result = plan(snapshot, aPlanInput(snapshot));
    expect(created(result).map(({ slot, nodeId, attempt }) => [slot, nodeId, attempt])).toEqual([
      [1, 'id-n1', 0],
      [2, 'id-n2', 0],
      [3, 'id-n3', 0],
    ]);
    expect(result.changes[0]).toMatchObject({
      kind: 'put-service',
      modRevision: 0,
      service: { stack: 'shop', name: 'web' },
    });
    expect(result.changes[1]).toMatchObject({ kind: 'put-task', node: { id: 'id-n1', modRevision: 1 } });
    settle(snapshot, aPlanInput(snapshot));
  });

  it('keeps tasks that fit nowhere, with the reasons, and places them once there is room', () => {
    const template = aTemplate({ reservations: { cpuMillis: 0, memoryBytes: 512 * MiB } });
    const small = { capacity: { cpuMillis: 1_000, memoryBytes: 128 * MiB } };
    const snapshot = aSnapshot({
      stacks: [aStack('shop', [aServiceSpec({ template })])],
      nodes: [aNode('n1'), aNode('n2'), aNode('n3', { availability: 'drain' })],
      facts: [aFacts('id-n1', small), aFacts('id-n2', small), aFacts('id-n3')],
    });
    const result = plan(snapshot, aPlanInput(snapshot));
    expect([...result.reasons]).toEqual([
      ['new-1', '0/3 nodes fit: 2 lack memory (need 512 MiB, free 128 MiB), 1 is drained'],
    ]);
    const pending = settle(snapshot, aPlanInput(snapshot));
    const roomier: Snapshot = { ...pending, facts: new Map([...pending.facts, ['id-n2', aFacts('id-n2')]]) };
    expect(changedTask(plan(roomier, aPlanInput(roomier)), 'new-1')?.nodeId).toBe('id-n2');
  });
});

it('lets services trade ports in one write, so that no port is ever published by two', () => {
  const at = (published?: number): ServiceSpec['ports'] => [
    { target: 80, protocol: 'tcp', ...(published === undefined ? {} : { published }) },
  ];
  const apply = (before: Snapshot, api?: number, web?: number): Snapshot => {
    const services = [aServiceSpec({ name: 'api', ports: at(api) }), aServiceSpec({ ports: at(web) })];
    const { stacks } = aSnapshot({ stacks: [aStack('shop', services)] });
    return { ...before, stacks };
  };
  const first = settle(apply(aSnapshot(), undefined, 8080), aPlanInput(aSnapshot()));
  const second = apply(first, 8080);
  const [change] = plan(second, aPlanInput(second)).changes;
  expect(change).toMatchObject({ kind: 'trade-ports', services: [{ modRevision: 2 }, { modRevision: 3 }] });
  const traded = settle(second, aPlanInput(second));
  expect(traded.services.get('shop/api')?.value.ports).toEqual([{ target: 80, published: 8080, protocol: 'tcp' }]);
});

it('frees the ports of a service that goes before another takes them', () => {
  const ports: ServiceSpec['ports'] = [{ target: 80, published: 8080, protocol: 'tcp' }];
  const before = settle(
    aSnapshot({ stacks: [aStack('shop', [aServiceSpec({ ports, replicas: 0 })])] }),
    aPlanInput(aSnapshot()),
  );
  const { stacks } = aSnapshot({ stacks: [aStack('shop', [aServiceSpec({ name: 'api', ports, replicas: 0 })])] });
  const after = { ...before, stacks };
  expect(plan(after, aPlanInput(after)).changes.map(({ kind }) => kind)).toEqual(['delete-service', 'put-service']);
});

it('counts what a stopping task still holds on its node', () => {
  const template = aTemplate({ reservations: { cpuMillis: 0, memoryBytes: 700 * MiB } });
  const snapshot = running(1, {
    stacks: [aStack('shop', [aServiceSpec({ name: 'api', template })])],
    services: [aService(), aService({ name: 'api', vip: '10.80.0.2' })],
    nodes: [aNode('n1')],
    tasks: [
      aTask({ id: 't1', nodeId: 'id-n1', template, desired: 'shutdown' }),
      aTask({ id: 't2', service: 'api', template }),
    ],
  });
  expect(plan(snapshot, aPlanInput(snapshot)).reasons.get('t2')).toBe(
    '0/1 nodes fit: 1 lacks memory (need 700 MiB, free 324 MiB)',
  );
  const ended = { ...snapshot, statuses: new Map([['t1', aStatus('t1', 'shutdown')]]) };
  expect(changedTask(plan(ended, aPlanInput(ended)), 't2')?.nodeId).toBe('id-n1');
});

describe('a lost node', () => {
  it('has its slots replaced elsewhere in the same pass, as attempts without back-off', () => {
    const snapshot = running(3);
    const input = withStates(snapshot, { 'id-n2': 'down' });
    const result = plan(snapshot, input);
    expect(changedTask(result, 't2')).toMatchObject({
      orphaned: true,
      desired: 'shutdown',
      desiredReason: 'node n2 was lost',
    });
    const [replacement, ...others] = created(result);
    expect(others).toEqual([]);
    expect(replacement).toMatchObject({ slot: 2, attempt: 1, restarts: 0, quickFailures: 0 });
    expect(['id-n1', 'id-n3']).toContain(replacement?.nodeId);
    expect(replacement?.notBeforeMs).toBeUndefined();
    settle(snapshot, input);
  });

  it('keeps its slots empty where the service is never to run again', () => {
    const stack = aStack('shop', [aServiceSpec({ replicas: 3, restart: { condition: 'none' } })]);
    const snapshot = running(3, { stacks: [stack] });
    const next = settle(snapshot, withStates(snapshot, { 'id-n2': 'down' }));
    expect(next.tasks.get('t2')?.value.orphaned).toBe(true);
    expect(next.tasks.size).toBe(3);
  });

  it.each(['suspect', 'unreachable'] as const)(
    'keeps its tasks while it is only %s, and takes no new ones',
    (state) => {
      const snapshot = running(1, { stacks: [aStack('shop', [aServiceSpec({ replicas: 5 })])] });
      const result = plan(snapshot, withStates(snapshot, { 'id-n1': state }));
      expect(changedTask(result, 't1')).toBeUndefined();
      expect(new Set(created(result).map((task) => task.nodeId))).toEqual(new Set(['id-n2', 'id-n3']));
    },
  );

  it('counts as lost when it is no longer part of the cluster', () => {
    const snapshot = running(3, { nodes: [aNode('n1'), aNode('n3')] });
    expect(changedTask(plan(snapshot, aPlanInput(snapshot)), 't2')).toMatchObject({
      orphaned: true,
      desiredReason: 'node id-n2 is no longer part of the cluster',
    });
  });

  it('leaves the slot to one task when a lost commit made two, whichever came back', () => {
    const snapshot = running(1);
    const twice = aSnapshot({
      stacks: [aStack()],
      services: [aService()],
      nodes: threeNodes,
      tasks: [aTask({ id: 't1', nodeId: 'id-n1' }), aTask({ id: 'late', nodeId: 'id-n2', attempt: 1 })],
      statuses: [aStatus('t1', 'running')],
    });
    expect(plan(snapshot, aPlanInput(snapshot)).changes).toEqual([]);
    const result = plan(twice, aPlanInput(twice));
    expect(putTasks(result.changes).map(({ id, desired }) => [id, desired])).toEqual([['late', 'shutdown']]);
  });
});

describe('an ended task', () => {
  const ended = (state: TaskState, spec: Partial<Parameters<typeof aServiceSpec>[0]> = {}, task: Partial<Task> = {}) =>
    running(1, {
      stacks: [aStack('shop', [aServiceSpec(spec)])],
      tasks: [aTask({ id: 't1', nodeId: 'id-n1', ...task })],
      statuses: [aStatus('t1', state, { finishedAtMs: startMs + 60_000 })],
    });

  it.each([
    ['any', 'complete', true],
    ['any', 'failed', true],
    ['any', 'rejected', true],
    ['any', 'shutdown', true],
    ['on-failure', 'complete', false],
    ['on-failure', 'failed', true],
    ['on-failure', 'rejected', true],
    ['none', 'complete', false],
    ['none', 'failed', false],
    ['none', 'rejected', false],
  ] as const)('with restart %s and state %s is replaced: %s', (condition, state, replaced) => {
    const snapshot = ended(state, { restart: { condition } });
    expect(created(plan(snapshot, aPlanInput(snapshot)))).toHaveLength(replaced ? 1 : 0);
    settle(snapshot, aPlanInput(snapshot));
  });

  it('is replaced maxAttempts times, not once more', () => {
    const restart = { condition: 'any', maxAttempts: 3 } as const;
    const second = ended('failed', { restart }, { restarts: 2 });
    expect(created(plan(second, aPlanInput(second)))[0]?.restarts).toBe(3);
    const third = ended('failed', { restart }, { restarts: 3 });
    expect(plan(third, aPlanInput(third)).changes).toEqual([]);
  });

  it('waits longer after each quick end, from 0 to 30 s, and is placed when the wait is over', () => {
    const delays = [0, 1, 2, 3, 4, 5, 6, 40].map((quickFailures) => {
      const snapshot = running(1, {
        tasks: [aTask({ id: 't1', nodeId: 'id-n1', quickFailures })],
        statuses: [aStatus('t1', 'failed', { finishedAtMs: startMs + 9_999 })],
      });
      const result = plan(snapshot, aPlanInput(snapshot));
      const [task] = created(result);
      expect(result.wakeAtMs).toBe(task?.notBeforeMs);
      expect(task?.nodeId === undefined).toBe(task?.notBeforeMs !== undefined);
      return task?.notBeforeMs === undefined ? 0 : task.notBeforeMs - startMs;
    });
    expect(delays).toEqual([0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  });

  it('forgets quick ends after one that ran for long', () => {
    const snapshot = ended('failed', {}, { quickFailures: 6 });
    expect(created(plan(snapshot, aPlanInput(snapshot)))[0]).toMatchObject({
      quickFailures: 0,
      restarts: 1,
      attempt: 1,
    });
  });

  it.each([
    ['before the wait is over', startMs + 3_999, false],
    ['when it is over', startMs + 4_000, true],
    ['after the clock was set back', startMs - 1, true],
  ])('%s the pending task is placed: %s', (_, wall, placed) => {
    const task = aTask({ id: 't1', quickFailures: 4, notBeforeMs: startMs + 4_000 });
    const snapshot = running(1, { tasks: [task], statuses: [] });
    const result = plan(snapshot, aPlanInput(snapshot, { wall }));
    expect(changedTask(result, 't1')?.nodeId !== undefined).toBe(placed);
    expect(result.wakeAtMs).toBe(placed ? undefined : startMs + 4_000);
    if (!placed) expect(result.reasons.get('t1')).toContain('waits 4 s: the last 4 attempts ended');
  });

  it('stays as history until four newer ones have ended', () => {
    const history = [0, 1, 2, 3].map((attempt) =>
      aTask({ id: `old${String(attempt)}`, attempt, nodeId: 'id-n1', desired: 'shutdown' }),
    );
    const snapshot = running(1, {
      tasks: [...history, aTask({ id: 't1', attempt: 4, nodeId: 'id-n1' })],
      statuses: [...history.map(({ id }) => aStatus(id, 'failed')), aStatus('t1', 'failed')],
    });
    const next = settle(snapshot, aPlanInput(snapshot));
    expect([...next.tasks.keys()]).toEqual(['old1', 'old2', 'old3', 't1', 'new-1']);
    expect(next.statuses.has('old0')).toBe(false);
  });
});

describe('scaling', () => {
  it('up adds slots and touches no other', () => {
    const snapshot = running(1, { stacks: [aStack('shop', [aServiceSpec({ replicas: 3 })])] });
    const result = plan(snapshot, aPlanInput(snapshot));
    expect(result.changes).toHaveLength(2);
    expect(created(result).map(({ slot, nodeId }) => [slot, nodeId])).toEqual([
      [2, 'id-n2'],
      [3, 'id-n3'],
    ]);
  });

  it('down ends the highest slots and then deletes them', () => {
    const snapshot = running(3, { stacks: [aStack('shop', [aServiceSpec({ replicas: 1 })])] });
    const next = settle(snapshot, aPlanInput(snapshot));
    expect([...next.tasks.values()].map(({ value }) => value.desired)).toEqual(['running', 'shutdown', 'shutdown']);
    const statuses = new Map([
      ...next.statuses,
      ['t2', aStatus('t2', 'shutdown')],
      ['t3', aStatus('t3', 'failed')],
    ] as const);
    expect([...settle({ ...next, statuses }, aPlanInput(next)).tasks.keys()]).toEqual(['t1']);
  });

  it('to zero leaves the service and no task', () => {
    const snapshot = running(1, {
      stacks: [aStack('shop', [aServiceSpec({ replicas: 0 })])],
      tasks: [aTask({ id: 't1' })],
      statuses: [],
    });
    const next = settle(snapshot, aPlanInput(snapshot));
    expect([next.tasks.size, next.services.size]).toEqual([0, 1]);
  });
});

it('hashes templates whatever the order of their keys', () => {
  const a = aTask({ template: aTemplate({ environment: { A: '1', B: '2' } }) });
  const b = aTask({ template: aTemplate({ environment: { B: '2', A: '1' } }) });
  expect(a.templateHash).toBe(b.templateHash);
  expect(a.templateHash).not.toBe(aTask().templateHash);
  expect(sha256('x')).toHaveLength(64);
});
