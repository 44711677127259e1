import { describe, expect, it } from 'vitest';
import { isConverged } from '../../../controller/plan/converged.ts';
import { serviceViews } from '../../../controller/plan/views.ts';
import { wantedSlotsOf } from '../../../controller/plan/wanted-slots.ts';
import type { Node, NodeState } from '../../../proto/domain/node.ts';
import type { Placement } from '../../../proto/domain/placement.ts';
import { anywhere } from '../../../proto/domain/placement.ts';
import {
  aFacts,
  aLiveness,
  aNode,
  aService,
  aServiceSpec,
  aSnapshot,
  aStack,
  aStatus,
  aTask,
} from '../../builders/domain.ts';

const north: Placement = {
  ...anywhere,
  constraints: [{ attribute: 'node.labels.zone', operator: '==', value: 'north' }],
};

describe('the slots of a global service', () => {
  const slots = (
    nodes: readonly Node[],
    over: { state?: NodeState; facts?: false; placement?: Placement; held?: number } = {},
  ) => {
    const snapshot = aSnapshot({ nodes, ...(over.facts === false ? { facts: [] } : {}) });
    const liveness = aLiveness(snapshot, over.state === undefined ? {} : { 'id-n2': over.state });
    const spec = aServiceSpec({ mode: 'global', replicas: 7, placement: over.placement ?? anywhere });
    return [...wantedSlotsOf(snapshot, liveness, spec, (slot) => slot === over.held)];
  };
  const [n1, n2, n3] = [aNode('n1'), aNode('n2'), aNode('n3')];
  const n2With = (part: Partial<Node>): readonly Node[] => [n1, aNode('n2', part), n3];

  it('are the places of the nodes’ subnets in the pool, whatever order the nodes come in', () => {
    expect(slots([n3, n1, n2])).toEqual([2, 3, 4]);
    expect(slots([aNode('a', { subnet: '10.64.0.0/24' }), aNode('b', { subnet: '10.65.0.0/24' })])).toEqual([1, 257]);
  });

  it.each<[string, readonly Node[], Parameters<typeof slots>[1], readonly number[]]>([
    ['a node that is suspect keeps its slot', [n1, n2, n3], { state: 'suspect' }, [2, 3, 4]],
    ['so does one that is unreachable', [n1, n2, n3], { state: 'unreachable' }, [2, 3, 4]],
    ['a lost node has none', [n1, n2, n3], { state: 'down' }, [2, 4]],
    ['a drained one has none', n2With({ availability: 'drain' }), {}, [2, 4]],
    ['a paused one gets none', n2With({ availability: 'pause' }), {}, [2, 4]],
    ['but keeps what it has', n2With({ availability: 'pause' }), { held: 3 }, [2, 3, 4]],
    ['one that has said nothing of itself has none', [n1], { facts: false }, []],
    ['constraints choose', n2With({ labels: { zone: 'North' } }), { placement: north }, [3]],
  ])('%s', (_, nodes, over, expected) => {
    expect(slots(nodes, over)).toEqual(expected);
  });

  it('are what people see as desired, and what convergence asks for', () => {
    const nodes = [n1, n2, n3];
    const parts = {
      stacks: [aStack('shop', [aServiceSpec({ mode: 'global' })])],
      services: [aService()],
      nodes,
      facts: nodes.map(({ id }) => aFacts(id)),
      tasks: [2, 3].map((slot) => aTask({ id: `t${String(slot)}`, slot, nodeId: `id-n${String(slot - 1)}` })),
      statuses: [aStatus('t2', 'running'), aStatus('t3', 'running')],
    };
    const snapshot = aSnapshot(parts);
    const all = aLiveness(snapshot);
    expect(serviceViews({ snapshot, liveness: all, isoTime: String })[0]?.replicas).toEqual({ desired: 3, running: 2 });
    expect(isConverged(snapshot, all, 'shop')).toBe(false);
    const without = aLiveness(snapshot, { 'id-n3': 'down' });
    expect(serviceViews({ snapshot, liveness: without, isoTime: String })[0]?.replicas).toEqual({
      desired: 2,
      running: 2,
    });
    expect(isConverged(snapshot, without, 'shop')).toBe(true);
  });
});
