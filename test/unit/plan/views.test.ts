import { describe, expect, it } from 'vitest';
import { isConverged } from '../../../controller/plan/converged.ts';
import { failedAttempts } from '../../../controller/plan/failed-attempts.ts';
import { nearestNames } from '../../../controller/plan/nearest-names.ts';
import { resolveService, resolveTarget, unknownStack } from '../../../controller/plan/resolve-service.ts';
import { settlingOf, steadyAfterMs } from '../../../controller/plan/settling.ts';
import { stuckOf } from '../../../controller/plan/stuck.ts';
import { nodeViews, serviceViews, taskViews } from '../../../controller/plan/views.ts';
import type { ViewInput } from '../../../controller/plan/views.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { ServiceSpec } from '../../../proto/domain/service.ts';
import type { Task, TaskStatus } from '../../../proto/domain/task.ts';
import {
  aLiveness,
  aNode,
  aRollout,
  aService,
  aServiceSpec,
  aSnapshot,
  aStack,
  aStatus,
  aTask,
  aTemplate,
  MiB,
  startMs,
} from '../../builders/domain.ts';

const started = new Date(startMs).toISOString();
const input = (snapshot: Snapshot, over: Partial<ViewInput> = {}): ViewInput => ({
  snapshot,
  liveness: aLiveness(snapshot),
  reasons: new Map(),
  isoTime: (ms) => new Date(ms).toISOString(),
  ...over,
});
const port = { target: 80, published: 8080, protocol: 'tcp' } as const;

describe('task views', () => {
  const snapshot = aSnapshot({
    stacks: [aStack('shop', [aServiceSpec({ replicas: 3 })])],
    services: [aService({ ports: [port] })],
    nodes: [aNode('n1'), aNode('n2')],
    tasks: [
      aTask({ id: 'old', nodeId: 'id-n2', desired: 'shutdown', desiredReason: 'node n2 was lost', orphaned: true }),
      aTask({ id: 'run', attempt: 1, nodeId: 'id-n1' }),
      aTask({
        id: 'stop',
        slot: 4,
        nodeId: 'id-n1',
        desired: 'shutdown',
        desiredReason: 'service web was scaled to 3',
      }),
      aTask({ id: 'wait', slot: 2 }),
      aTask({ id: 'dead', slot: 3, nodeId: 'id-n1' }),
    ],
    statuses: [
      aStatus('run', 'running', { address: '10.64.1.2', health: 'healthy', sinceMs: startMs + 500 }),
      aStatus('stop', 'running'),
      aStatus('dead', 'failed', { exitCode: 3 }),
    ],
  });
  const reasons = new Map([['wait', '0/2 nodes fit: 2 are paused']]);
  const views = taskViews(input(snapshot, { reasons }), { all: true });

  it('have every field', () => {
    expect(views.find(({ id }) => id === 'run')).toEqual({
      id: 'run',
      stack: 'shop',
      service: 'web',
      slot: 1,
      node: 'n1',
      state: 'running',
      desiredState: 'running',
      health: 'healthy',
      address: '10.64.1.2',
      ports: [port],
      image: 'registry.test/web:1',
      since: new Date(startMs + 500).toISOString(),
      startedAt: started,
      exitCode: null,
      restarts: 1,
      reason: null,
    });
  });

  it('come by slot, the newest attempt first, with the reason that helps', () => {
    expect(views.map(({ id, state, node, reason }) => [id, state, node, reason])).toEqual([
      ['run', 'running', 'n1', null],
      ['old', 'orphaned', 'n2', 'node n2 was lost'],
      ['wait', 'pending', null, '0/2 nodes fit: 2 are paused'],
      ['dead', 'failed', 'n1', 'exit code 3'],
      ['stop', 'running', 'n1', 'service web was scaled to 3'],
    ]);
    expect(views[1]?.since).toBeNull();
  });

  it('leave history out unless asked, and keep what is wanted or still runs', () => {
    expect(taskViews(input(snapshot)).map(({ id }) => id)).toEqual(['run', 'wait', 'dead', 'stop']);
    expect(taskViews(input(snapshot), { stack: 'blog' })).toEqual([]);
    expect(taskViews(input(snapshot), { stack: 'shop', service: 'web' })).toHaveLength(4);
  });
});

describe('service and node views', () => {
  const template = aTemplate({ reservations: { cpuMillis: 100, memoryBytes: 64 * MiB } });
  const snapshot = aSnapshot({
    stacks: [aStack('shop', [aServiceSpec({ replicas: 2 })])],
    services: [aService({ ports: [port] }), aService({ stack: 'gone', vip: '10.80.0.2' })],
    nodes: [aNode('n10'), aNode('n2', { availability: 'drain' })],
    tasks: [
      aTask({ id: 't1', template, nodeId: 'id-n2' }),
      aTask({ id: 't2', slot: 2, template, nodeId: 'id-n2' }),
      aTask({ id: 't3', stack: 'gone', template, nodeId: 'id-n2', desired: 'shutdown' }),
    ],
    statuses: [aStatus('t1', 'running'), aStatus('t2', 'failed'), aStatus('t3', 'running')],
  });

  it('count what runs, also of services that are going', () => {
    expect(serviceViews(input(snapshot))).toEqual([
      {
        stack: 'gone',
        name: 'web',
        mode: 'replicated',
        image: 'registry.test/web:1',
        replicas: { desired: 0, running: 1 },
        ports: [],
        rollout: null,
      },
      {
        stack: 'shop',
        name: 'web',
        mode: 'replicated',
        image: 'registry.test/web:1',
        replicas: { desired: 2, running: 1 },
        ports: [port],
        rollout: null,
      },
    ]);
    expect(serviceViews(input(snapshot), 'shop')).toHaveLength(1);
  });

  it('sum up what live tasks reserve, and say when a node was not heard', () => {
    const views = nodeViews(input(snapshot, { liveness: aLiveness(snapshot, { 'id-n10': undefined }) }));
    expect(
      views.map(({ name, state, availability, reserved, tasks }) => [name, state, availability, reserved, tasks]),
    ).toEqual([
      ['n2', 'ready', 'drain', { cpuMillis: 200, memoryBytes: 128 * MiB }, 2],
      ['n10', 'suspect', 'active', { cpuMillis: 0, memoryBytes: 0 }, 0],
    ]);
    expect(views[0]?.since).toBe(started);
  });
});

describe('names', () => {
  const snapshot = aSnapshot({
    stacks: [
      aStack('shop', [aServiceSpec(), aServiceSpec({ name: 'counter' })]),
      aStack('blog', [aServiceSpec()]),
      aStack('a', [aServiceSpec({ name: 'b_c' })]),
      aStack('a_b', [aServiceSpec({ name: 'c' })]),
    ],
  });

  it.each([
    ['shop/web', 'shop', 'web'],
    ['shop_web', 'shop', 'web'],
    ['counter', 'shop', 'counter'],
    ['a/b_c', 'a', 'b_c'],
  ])('%s is %s/%s', (written, stack, service) => {
    expect(resolveService(snapshot, written)).toEqual({ kind: 'service', stack, service });
  });

  it.each([
    ['web', 'invalid', '"web" is more than one service; write one of: blog/web, shop/web'],
    ['a_b_c', 'invalid', '"a_b_c" is more than one service; write one of: a/b_c, a_b/c'],
    ['conter', 'not-found', 'there is no service "conter"; did you mean shop/counter?'],
    ['shop/wep', 'not-found', 'there is no service "shop/wep"; did you mean shop/web?'],
    [
      'quite-other',
      'not-found',
      'there is no service "quite-other"; there are: a/b_c, a_b/c, blog/web, shop/counter, shop/web',
    ],
  ])('%s is a problem: %s', (written, code, message) => {
    expect(resolveService(snapshot, written)).toEqual({ kind: 'problem', code, message });
  });

  it('may be a stack’s where that is allowed', () => {
    expect(resolveTarget(snapshot, 'shop')).toEqual({ kind: 'stack', stack: 'shop' });
    expect(resolveTarget(snapshot, 'counter')).toMatchObject({ kind: 'service' });
    expect(resolveTarget(snapshot, 'web')).toMatchObject({ kind: 'problem', code: 'invalid' });
    expect(resolveService(aSnapshot(), 'web')).toMatchObject({
      message: 'there is no service "web"; there are no services',
    });
  });

  it('of a stack are known while something of it is left', () => {
    expect(unknownStack(snapshot, 'shop')).toBeUndefined();
    expect(unknownStack(snapshot, 'shup')?.message).toBe('there is no stack "shup"; did you mean shop?');
    expect(unknownStack(aSnapshot(), 'shop')?.message).toBe('there is no stack "shop"; there are no stacks');
  });

  it('are suggested when near', () => {
    expect(nearestNames('wbe', ['web', 'counter', 'wb'])).toEqual(['wb', 'web']);
    expect(nearestNames('x', ['y'])).toEqual([]);
  });
});

describe('convergence', () => {
  const parts = {
    stacks: [aStack('shop', [aServiceSpec({ replicas: 1 })])],
    services: [aService()],
    nodes: [aNode('n1')],
    tasks: [aTask({ id: 't1', nodeId: 'id-n1' })],
    statuses: [aStatus('t1', 'running')],
  };
  const oneShot = [aStack('shop', [aServiceSpec({ restart: { condition: 'none' } })])];

  it.each([
    ['all runs', parts, true],
    ['it still starts', { ...parts, statuses: [aStatus('t1', 'starting')] }, false],
    ['it is healthy', { ...parts, statuses: [aStatus('t1', 'running', { health: 'healthy' })] }, true],
    ['it runs and is unhealthy', { ...parts, statuses: [aStatus('t1', 'running', { health: 'unhealthy' })] }, false],
    ['one slot is missing', { ...parts, stacks: [aStack('shop', [aServiceSpec({ replicas: 2 })])] }, false],
    [
      'the template is old',
      { ...parts, tasks: [aTask({ id: 't1', nodeId: 'id-n1', template: aTemplate({ user: 'app' }) })] },
      false,
    ],
    ['it has no record yet', { ...parts, services: [] }, false],
    [
      'another still stops',
      {
        ...parts,
        tasks: [...parts.tasks, aTask({ id: 't2', slot: 2, nodeId: 'id-n1', desired: 'shutdown' as const })],
      },
      false,
    ],
    ['history is left', { ...parts, tasks: [...parts.tasks, aTask({ id: 't2', desired: 'shutdown' as const })] }, true],
    ['it has failed', { ...parts, statuses: [aStatus('t1', 'failed')] }, false],
    ['its update is watched yet', { ...parts, services: [aService({ rollout: aRollout() })] }, false],
    ['its update is over', { ...parts, services: [aService({ rollout: aRollout({ state: 'completed' }) })] }, true],
    [
      'its update was rolled back',
      { ...parts, services: [aService({ rollout: aRollout({ state: 'rolled-back' }) })] },
      false,
    ],
    ['a one-shot task is done', { ...parts, stacks: oneShot, statuses: [aStatus('t1', 'complete')] }, true],
    ['a one-shot task has failed', { ...parts, stacks: oneShot, statuses: [aStatus('t1', 'failed')] }, false],
    ['a removed stack has tasks', { ...parts, stacks: [] }, false],
    ['a removed stack has none', { ...parts, stacks: [], tasks: [], services: [] }, true],
    [
      'a removed service has a record',
      { ...parts, services: [aService(), aService({ name: 'api', vip: '10.80.0.9' })] },
      false,
    ],
  ])('when %s: %#', (_, given, expected) => {
    const snapshot = aSnapshot(given);
    expect(isConverged(snapshot, aLiveness(snapshot), 'shop')).toBe(expected);
  });
});

describe('what is stuck', () => {
  const parts = (spec: Partial<ServiceSpec>, tasks: readonly Task[], statuses: readonly TaskStatus[], record = {}) =>
    aSnapshot({
      stacks: [aStack('shop', [aServiceSpec({ replicas: 2, ...spec })])],
      services: [aService(record)],
      nodes: [aNode('n1'), aNode('n2')],
      tasks,
      statuses,
    });
  const t1 = aTask({ id: 't1', nodeId: 'id-n1' });
  const boom = { exitCode: 3, reason: 'no database' };
  const rejected = [0, 1, 2].map((attempt) =>
    aTask({ id: `r${String(attempt)}`, attempt, nodeId: 'id-n2', desired: 'shutdown' }),
  );
  const said = { reason: 'no such image' };

  it.each([
    [
      'a failed one that is not to run again',
      parts({ restart: { condition: 'none' } }, [t1], [aStatus('t1', 'failed', boom)]),
      ['1 n1 failed: exit code 3: no database'],
    ],
    [
      'the same, its exit code told once',
      parts(
        { restart: { condition: 'none' } },
        [t1],
        [aStatus('t1', 'failed', { exitCode: 3, reason: 'exited with code 3; its last output: no' })],
      ),
      ['1 n1 failed: exited with code 3; its last output: no'],
    ],
    [
      'one whose attempts are used up',
      parts(
        { restart: { condition: 'on-failure', maxAttempts: 2 } },
        [aTask({ ...t1, restarts: 2 })],
        [aStatus('t1', 'failed', boom)],
      ),
      ['1 n1 failed: exit code 3: no database'],
    ],
    [
      'not one that ended as it should',
      parts({ restart: { condition: 'none' } }, [t1], [aStatus('t1', 'complete')]),
      [],
    ],
    ['not one that is tried again', parts({}, [t1], [aStatus('t1', 'failed', boom)]), []],
    [
      'a one-shot task whose node was lost',
      parts(
        { restart: { condition: 'none' } },
        [aTask({ ...t1, orphaned: true, desired: 'shutdown', desiredReason: 'node n1 was lost' })],
        [],
      ),
      ['1 n1 node n1 was lost, and it is not to run again'],
    ],
    [
      'one rejected again and again',
      parts(
        {},
        [...rejected, aTask({ id: 't4', attempt: 3 })],
        rejected.map(({ id }) => aStatus(id, 'rejected', said)),
      ),
      ['1 n2 rejected 3 times in a row: no such image'],
    ],
    [
      'not one rejected twice',
      parts(
        {},
        rejected.slice(1),
        rejected.slice(1).map(({ id }) => aStatus(id, 'rejected', said)),
      ),
      [],
    ],
    [
      'not one rejected with another template',
      parts(
        { template: aTemplate({ user: 'app' }) },
        rejected,
        rejected.map(({ id }) => aStatus(id, 'rejected', said)),
      ),
      [],
    ],
    [
      'an unhealthy one that its policy leaves as it is',
      parts(
        { restart: { condition: 'none' } },
        [t1],
        [aStatus('t1', 'running', { health: 'unhealthy', reason: 'unhealthy: 3 checks failed' })],
      ),
      ['1 n1 unhealthy: 3 checks failed; its restart policy leaves it as it is'],
    ],
    ['not an unhealthy one that is replaced', parts({}, [t1], [aStatus('t1', 'running', { health: 'unhealthy' })]), []],
    [
      'an update that is paused',
      parts({}, [t1], [aStatus('t1', 'running')], { rollout: aRollout({ state: 'paused', reason: 'it failed' }) }),
      ['null null update paused: it failed'],
    ],
    [
      'not an update that is being rolled back',
      parts({}, [t1], [aStatus('t1', 'running')], { rollout: aRollout({ state: 'rolling-back' }) }),
      [],
    ],
  ])('%s', (_, snapshot, expected) => {
    const stuck = stuckOf(snapshot, aLiveness(snapshot), 'shop');
    expect(stuck.map(({ slot, node, reason }) => `${String(slot)} ${String(node)} ${reason}`)).toEqual(expected);
    expect(stuck.every(({ service }) => service === 'web')).toBe(true);
    expect(stuckOf(snapshot, aLiveness(snapshot), 'blog')).toEqual([]);
  });
});

describe('what was so before the stack was declared', () => {
  const appliedAtMs = startMs + 60_000;
  const job = aServiceSpec({ name: 'job', restart: { ...aServiceSpec().restart, condition: 'none' } });
  const jobTask = aTask({ id: 'j', service: 'job', nodeId: 'id-n1' });
  const stuckWith = (
    tasks: readonly Task[],
    statuses: readonly TaskStatus[],
    services = [aService()],
    specs = [job],
  ) => {
    const snapshot = aSnapshot({
      stacks: [aStack('shop', [aServiceSpec(), ...specs], { appliedAtMs })],
      services: [...services, aService({ name: 'job' })],
      nodes: [aNode('n1')],
      tasks,
      statuses,
    });
    return (settling: readonly string[] = []) =>
      stuckOf(snapshot, aLiveness(snapshot), 'shop', settling).map(({ service, reason }) => `${service} ${reason}`);
  };
  const failed = aStatus('j', 'failed', {
    sinceMs: startMs,
    finishedAtMs: startMs,
    exitCode: 3,
    reason: 'exit code 3',
  });
  const web = aTask({ id: 'w', nodeId: 'id-n1' });

  it('is told once nothing else is on its way', () => {
    expect(stuckWith([jobTask, web], [failed])()).toEqual([]);
    expect(stuckWith([jobTask], [failed])()).toEqual([]);
    const done = stuckWith([jobTask, web], [failed, aStatus('w', 'running')]);
    expect(done(['web'])).toEqual([]);
    expect(done()).toEqual(['job failed: exit code 3']);
    const updating = [aService({ rollout: aRollout({ state: 'updating' }) })];
    expect(stuckWith([jobTask, web], [failed, aStatus('w', 'running')], updating)()).toEqual([]);
  });

  it('is not waited out where a service waits for just that', () => {
    const pending = aTask({ id: 'w' });
    expect(stuckWith([jobTask, pending], [failed], [aService({ released: false })])()).toEqual([
      'job failed: exit code 3',
    ]);
  });

  it('is told at once with something new', () => {
    const now = { ...failed, finishedAtMs: appliedAtMs + 1 };
    expect(stuckWith([jobTask, web], [now])()).toEqual(['job failed: exit code 3']);
  });

  it('is no verdict on what is being tried again', () => {
    const rejected = [0, 1, 2].map((attempt) =>
      aTask({ id: `r${String(attempt)}`, attempt, nodeId: 'id-n1', desired: 'shutdown' }),
    );
    const refused = (finishedAtMs: number) =>
      rejected.map(({ id }) => aStatus(id, 'rejected', { finishedAtMs, reason: 'no such image' }));
    const next = aTask({ id: 'r3', attempt: 3 });
    expect(stuckWith([...rejected, next], refused(startMs), [aService()], [])()).toEqual([]);
    expect(stuckWith([...rejected, next], refused(appliedAtMs), [aService()], [])()).toHaveLength(1);
  });
});

describe('failed attempts', () => {
  const told = (
    spec: Partial<ServiceSpec>,
    tasks: readonly Task[],
    statuses: readonly TaskStatus[],
    record = {},
    settling: readonly string[] = [],
  ) => {
    const snapshot = aSnapshot({
      stacks: [aStack('shop', [aServiceSpec(spec)])],
      services: [aService(record)],
      nodes: [aNode('n1')],
      tasks,
      statuses,
    });
    return failedAttempts(snapshot, aLiveness(snapshot), 'shop', settling).map(
      ({ slot, taskId, node, started, reason }) =>
        `${String(slot)} ${taskId} ${String(node)} ${String(started)} ${reason}`,
    );
  };
  const retired = { nodeId: 'id-n1', desired: 'shutdown' as const };
  const earlier = [0, 1].map((attempt) => aTask({ id: `f${String(attempt)}`, attempt, ...retired }));
  const crashed = earlier.map(({ id }) => aStatus(id, 'failed', { exitCode: 3, startedAtMs: startMs }));
  const next = aTask({ id: 'next', attempt: 2, nodeId: 'id-n1' });

  it.each([
    ['the latest one is told while the next comes up', {}, [...earlier, next], crashed, ['1 f1 n1 true exit code 3']],
    ['none once the next one runs', {}, [...earlier, next], [...crashed, aStatus('next', 'running')], []],
    [
      'one that is unhealthy counts, with what its check said',
      {},
      [aTask({ id: 'u', ...retired, unhealthyAtMs: startMs, desiredReason: 'unhealthy: refused' }), next],
      [aStatus('u', 'shutdown', { startedAtMs: startMs, exitCode: 137 })],
      ['1 u n1 true unhealthy: refused'],
    ],
    [
      'one that never started has written nothing',
      {},
      earlier,
      [aStatus('f0', 'rejected', { reason: 'no image' })],
      ['1 f0 n1 false no image'],
    ],
    ['not one that was told to stop', {}, [...earlier, next], earlier.map(({ id }) => aStatus(id, 'shutdown')), []],
    ['not one with an earlier template', { template: aTemplate({ user: 'app' }) }, [...earlier, next], crashed, []],
    [
      'one that ends well and is to run again',
      {},
      [...earlier, next],
      [aStatus('f1', 'complete', { exitCode: 0, startedAtMs: startMs })],
      ['1 f1 n1 true exit code 0'],
    ],
  ] as const)('%s', (_, spec, tasks, statuses, expected) => {
    expect(told(spec, tasks, statuses)).toEqual(expected);
  });

  it('are told while the next one runs, but not for long', () => {
    const statuses = [...crashed, aStatus('next', 'running')];
    expect(told({}, [...earlier, next], statuses, {}, ['web'])).toEqual(['1 f1 n1 true exit code 3']);
  });

  it('are told of a rolled-back update though the earlier template runs', () => {
    const before = aTask({
      id: 'old',
      attempt: 3,
      nodeId: 'id-n1',
      templateHash: 'h0',
      template: aTemplate({ user: 'old' }),
    });
    const rollout = aRollout({ state: 'rolled-back' });
    const record = { rollout, previous: aTemplate({ user: 'old' }) };
    expect(told({}, [...earlier, before], [...crashed, aStatus('old', 'running')], record)).toEqual([
      '1 f1 n1 true exit code 3',
    ]);
  });
});

describe('what has just started', () => {
  const settling = (nowMs: number, over: Partial<TaskStatus> = {}, task: Partial<Task> = {}) =>
    settlingOf(
      aSnapshot({
        tasks: [aTask({ id: 't1', nodeId: 'id-n1', ...task })],
        statuses: [aStatus('t1', 'running', { ranAtMs: startMs, ...over })],
      }),
      'shop',
      nowMs,
    );

  it('is waited for until it has run for a while', () => {
    expect(settling(startMs + 500)).toEqual({ services: ['web'], dueInMs: steadyAfterMs - 500 });
    expect(settling(startMs + steadyAfterMs)).toEqual({ services: [] });
  });

  it.each([
    ['a health check speaks for it', { health: 'healthy' as const }, {}],
    ['it has ended', { state: 'complete' as const }, {}],
    ['it is told to stop', {}, { desired: 'shutdown' as const }],
    ['the clock was set back', { ranAtMs: startMs + 60_000 }, {}],
  ])('is not where %s', (_, status, task) => {
    expect(settling(startMs + 500, status, task)).toEqual({ services: [] });
  });
});
