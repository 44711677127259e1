import { describe, expect, it } from 'vitest';
import { plan } from '../../../controller/plan/plan.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { NodeState } from '../../../proto/domain/node.ts';
import type { ServiceSpec } from '../../../proto/domain/service.ts';
import { anywhere } from '../../../proto/domain/placement.ts';
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
} from '../../builders/domain.ts';
import { changedTask, created, settle, threeNodes, withStates } from './fixture.ts';

const globally = (over: Partial<ServiceSpec> = {}): ServiceSpec => aServiceSpec({ mode: 'global', ...over });

/** One running task on each of n1 to n3, in slots 2 to 4. */
function everywhere(parts: Parameters<typeof aSnapshot>[0] = {}, spec: ServiceSpec = globally()): Snapshot {
  return aSnapshot({
    stacks: [aStack('shop', [spec])],
    services: [aService()],
    nodes: threeNodes,
    tasks: [1, 2, 3].map((n) => aTask({ id: `t${String(n)}`, slot: n + 1, nodeId: `id-n${String(n)}` })),
    statuses: [1, 2, 3].map((n) => aStatus(`t${String(n)}`, 'running')),
    ...parts,
  });
}
const withNode = (name: string, over: Parameters<typeof aNode>[1]) =>
  threeNodes.map((node) => (node.name === name ? aNode(name, over) : node));

describe('a global service', () => {
  it('goes to one task on each node in one pass, its slot the node’s own', () => {
    const snapshot = everywhere({ tasks: [], statuses: [] });
    expect(created(plan(snapshot, aPlanInput(snapshot))).map(({ slot, nodeId }) => [slot, nodeId])).toEqual([
      [2, 'id-n1'],
      [3, 'id-n2'],
      [4, 'id-n3'],
    ]);
    settle(snapshot, aPlanInput(snapshot));
    expect(plan(everywhere(), aPlanInput(everywhere())).changes).toEqual([]);
  });

  it('comes to a node that joins', () => {
    const snapshot = everywhere({ nodes: [...threeNodes, aNode('n4')] });
    expect(created(plan(snapshot, aPlanInput(snapshot))).map(({ slot, nodeId }) => [slot, nodeId])).toEqual([
      [5, 'id-n4'],
    ]);
  });

  it('waits with its reason where it does not fit, and nowhere else', () => {
    const template = aTemplate({ reservations: { cpuMillis: 0, memoryBytes: 64 * MiB } });
    const small = aFacts('id-n2', { capacity: { cpuMillis: 1_000, memoryBytes: MiB } });
    const facts = [aFacts('id-n1'), small, aFacts('id-n3')];
    const snapshot = everywhere({ tasks: [], statuses: [], facts }, globally({ template }));
    const result = plan(snapshot, aPlanInput(snapshot));
    expect(created(result).map(({ nodeId }) => nodeId)).toEqual(['id-n1', undefined, 'id-n3']);
    expect([...result.reasons.values()]).toEqual(['node n2 lacks memory (need 64 MiB, free 1 MiB)']);
  });

  it.each<[string, Record<string, NodeState>, readonly ReturnType<typeof aNode>[], string, boolean]>([
    ['is lost', { 'id-n2': 'down' }, threeNodes, 'node n2 was lost', true],
    ['is drained', {}, withNode('n2', { availability: 'drain' }), 'node n2 is drained', false],
  ])(
    'ends on a node that %s and is not replaced elsewhere; back again, it gets a new task',
    (_, states, nodes, reason, orphaned) => {
      const snapshot = everywhere({ nodes });
      const input = withStates(snapshot, states);
      const result = plan(snapshot, input);
      expect(created(result)).toEqual([]);
      expect(changedTask(result, 't2')).toMatchObject({ desired: 'shutdown', desiredReason: reason });
      expect(changedTask(result, 't2')?.orphaned === true).toBe(orphaned);
      const settled = settle(snapshot, input);
      const statuses = new Map([...settled.statuses, ['t2', aStatus('t2', 'shutdown')]]);
      const back = { ...settled, statuses, nodes: everywhere().nodes };
      const [task, ...others] = created(plan(back, aPlanInput(back)));
      expect(others).toEqual([]);
      expect(task).toMatchObject({ slot: 3, nodeId: 'id-n2', attempt: 1 });
    },
  );

  it('follows the labels its constraints ask for', () => {
    const placement = {
      ...anywhere,
      constraints: [{ attribute: 'node.labels.gpu', operator: '==' as const, value: 'yes' }],
    };
    const labelled = withNode('n3', { labels: { gpu: 'yes' } });
    const fresh = everywhere({ nodes: labelled, tasks: [], statuses: [] }, globally({ placement }));
    expect(created(plan(fresh, aPlanInput(fresh))).map(({ nodeId }) => nodeId)).toEqual(['id-n3']);
    const after = everywhere({ nodes: labelled }, globally({ placement }));
    const result = plan(after, aPlanInput(after));
    expect(changedTask(result, 't1')?.desiredReason).toBe('node n1 doesn\'t match "node.labels.gpu == yes"');
    expect(changedTask(result, 't3')).toBeUndefined();
  });

  it('stays on a paused node, waits there when it ends, and does not come to one', () => {
    const nodes = withNode('n2', { availability: 'pause' });
    expect(plan(everywhere({ nodes }), aPlanInput(everywhere({ nodes }))).changes).toEqual([]);
    const ended = everywhere({
      nodes,
      statuses: [aStatus('t1', 'running'), aStatus('t2', 'failed'), aStatus('t3', 'running')],
    });
    expect([...plan(ended, aPlanInput(ended)).reasons.values()]).toEqual(['node n2 is paused']);
    settle(ended, aPlanInput(ended));
    const fresh = everywhere({ nodes, tasks: [], statuses: [] });
    expect(created(plan(fresh, aPlanInput(fresh))).map(({ nodeId }) => nodeId)).toEqual(['id-n1', 'id-n3']);
  });

  it('keeps its tasks on nodes that were lost together, as long as the brake holds', () => {
    const snapshot = everywhere();
    const input = withStates(snapshot, { 'id-n1': 'down', 'id-n2': 'down' });
    expect(plan(snapshot, input).changes).toEqual([]);
  });

  it('moves a formerly replicated service slot by slot', () => {
    const moved = everywhere({
      tasks: [aTask({ id: 'a', slot: 1, nodeId: 'id-n1' }), aTask({ id: 'b', slot: 2, nodeId: 'id-n3' })],
      statuses: [aStatus('a', 'running'), aStatus('b', 'running')],
    });
    const result = plan(moved, aPlanInput(moved));
    for (const id of ['a', 'b'])
      expect(changedTask(result, id)?.desiredReason).toBe('service web runs once on each node now');
    expect(created(result).map(({ slot }) => slot)).toEqual([3, 4]);
    const next = settle(moved, aPlanInput(moved));
    const ended = { ...next, statuses: new Map([...next.statuses, ['b', aStatus('b', 'shutdown')]]) };
    const input = aPlanInput(ended, { newId: () => 'last' });
    expect(settle(ended, input).tasks.get('last')?.value).toMatchObject({ slot: 2, nodeId: 'id-n1' });
  });
});
