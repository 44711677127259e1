import { describe, expect, it } from 'vitest';
import { plan } from '../../../controller/plan/plan.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { ServiceSpec } from '../../../proto/domain/service.ts';
import type { Dependency } from '../../../proto/domain/stack-parts.ts';
import type { TaskStatus } from '../../../proto/domain/task.ts';
import { aPlanInput, aService, aServiceSpec, aSnapshot, aStack, aStatus, aTask } from '../../builders/domain.ts';
import { created, settle, threeNodes, withStates } from './fixture.ts';

type Condition = Dependency['condition'];
interface Parts {
  readonly db?: Partial<ServiceSpec> | null;
  readonly required?: boolean;
  readonly tasks?: readonly ReturnType<typeof aTask>[];
  readonly statuses?: readonly TaskStatus[];
  readonly released?: boolean;
}

/** `web` waits for `db`, which has one task on n1. */
function waiting(condition: Condition, parts: Parts = {}): Snapshot {
  const dependsOn = [{ service: 'db', condition, required: parts.required ?? true }];
  const db = parts.db === null ? [] : [aServiceSpec({ name: 'db', ...parts.db })];
  return aSnapshot({
    stacks: [aStack('shop', [...db, aServiceSpec({ name: 'web', replicas: 2, dependsOn })])],
    services: [aService({ name: 'db', vip: '10.80.0.2' }), aService({ released: parts.released ?? false })],
    nodes: threeNodes,
    tasks: parts.tasks ?? [aTask({ id: 'db1', service: 'db', nodeId: 'id-n1' })],
    statuses: parts.statuses ?? [],
  });
}
const outcome = (snapshot: Snapshot): { placed: number; reason: string | undefined } => {
  const result = plan(snapshot, aPlanInput(snapshot));
  const web = created(result).filter(({ service }) => service === 'web');
  expect(web).toHaveLength(2);
  const reasons = new Set(web.map(({ id }) => result.reasons.get(id)));
  expect(reasons.size).toBe(1);
  return { placed: web.filter(({ nodeId }) => nodeId !== undefined).length, reason: [...reasons][0] };
};
const starts = { placed: 2, reason: undefined };
const waits = (reason: string) => ({ placed: 0, reason: `waits for ${reason}` });

describe('a service that depends on another', () => {
  it.each<[Condition, Parts, ReturnType<typeof outcome>]>([
    ['started', { tasks: [] }, waits('db to start (0/1)')],
    ['started', { statuses: [aStatus('db1', 'preparing')] }, waits('db to start (0/1)')],
    ['started', { statuses: [aStatus('db1', 'starting')] }, starts],
    ['started', { statuses: [aStatus('db1', 'failed')] }, starts],
    ['started', { statuses: [aStatus('db1', 'rejected')] }, waits('db to start (0/1)')],
    ['started', { db: { replicas: 0 } }, starts],
    ['started', { db: { replicas: 2 }, statuses: [aStatus('db1', 'running')] }, waits('db to start (1/2)')],
    ['started', { db: { mode: 'global' }, tasks: [] }, waits('db to start (0/3)')],
    ['healthy', { statuses: [aStatus('db1', 'starting', { health: 'starting' })] }, waits('db to be healthy (0/1)')],
    ['healthy', { statuses: [aStatus('db1', 'running', { health: 'healthy' })] }, starts],
    ['healthy', { statuses: [aStatus('db1', 'running')] }, waits('db to be healthy (0/1): it has no health check')],
    ['completed', { statuses: [aStatus('db1', 'running')] }, waits('db to complete (0/1)')],
    ['completed', { statuses: [aStatus('db1', 'complete', { exitCode: 0 })] }, starts],
    [
      'completed',
      { db: { restart: { condition: 'none' } }, statuses: [aStatus('db1', 'failed', { exitCode: 3 })] },
      waits('db to complete (0/1): it ended with exit code 3 and is not started again'),
    ],
    ['completed', { statuses: [aStatus('db1', 'failed', { exitCode: 3 })] }, waits('db to complete (0/1)')],
    [
      'completed',
      {
        required: false,
        db: { restart: { condition: 'none' } },
        statuses: [aStatus('db1', 'failed', { exitCode: 3 })],
      },
      starts,
    ],
    ['completed', { required: false, statuses: [aStatus('db1', 'running')] }, waits('db to complete (0/1)')],
    ['started', { required: false, db: null, tasks: [] }, starts],
  ])('with the condition %s and %j: %j', (condition, parts, expected) => {
    expect(outcome(waiting(condition, parts))).toEqual(expected);
  });

  it('is released for good: what becomes of the other later is not asked', () => {
    const met = waiting('started', { statuses: [aStatus('db1', 'running')] });
    const next = settle(met, aPlanInput(met));
    expect(next.services.get('shop/web')?.value.released).toBe(true);
    const lost = { ...next, tasks: new Map([...next.tasks].filter(([id]) => id !== 'db1')) };
    const input = withStates(lost, { 'id-n2': 'down' }, { newId: (() => { let n = 0; return () => `r${String((n += 1))}`; })() }); // prettier-ignore
    const web = [...settle(lost, input).tasks.values()].filter(({ value }) => value.service === 'web');
    expect(
      web.filter(({ value }) => value.desired === 'running').every(({ value }) => value.nodeId !== undefined),
    ).toBe(true);
    expect(outcome(waiting('started', { tasks: [], released: true }))).toEqual(starts);
  });

  it('says of all that it waits for', () => {
    const dependsOn: Dependency[] = [
      { service: 'cache', condition: 'started', required: true },
      { service: 'db', condition: 'healthy', required: true },
    ];
    const stack = aStack('shop', [
      aServiceSpec({ name: 'cache' }),
      aServiceSpec({ name: 'db' }),
      aServiceSpec({ name: 'web', replicas: 1, dependsOn }),
    ]);
    const snapshot = aSnapshot({ stacks: [stack], nodes: threeNodes });
    const result = plan(snapshot, aPlanInput(snapshot));
    expect([...result.reasons.values()]).toEqual(['waits for cache to start (0/1), and for db to be healthy (0/1)']);
    settle(snapshot, aPlanInput(snapshot));
  });
});
