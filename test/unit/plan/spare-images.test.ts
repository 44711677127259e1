import { describe, expect, it } from 'vitest';
import { plan } from '../../../controller/plan/plan.ts';
import { spareImages } from '../../../controller/plan/spare-images.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import { sparesOfNodes } from '../../../controller/schedule/spares.ts';
import type { SparesByService } from '../../../controller/schedule/spares.ts';
import type { NodeState } from '../../../proto/domain/node.ts';
import type { ServiceSpec } from '../../../proto/domain/service.ts';
import { aLiveness, aNode, aPlanInput, aService, aServiceSpec, aSnapshot, aStack, aStatus, aTask, aTemplate, MiB } from '../../builders/domain.ts'; // prettier-ignore

const nodes = ['n1', 'n2', 'n3', 'n4'].map((name) => aNode(name));
const none: SparesByService = new Map();

/** `web` with one task on n1. */
const world = (over: Partial<ServiceSpec> = {}, extra: Parameters<typeof aSnapshot>[0] = {}): Snapshot =>
  aSnapshot({
    stacks: [aStack('shop', [aServiceSpec(over)])],
    services: [aService()],
    nodes,
    tasks: [aTask({ id: 't1', nodeId: 'id-n1' })],
    statuses: [aStatus('t1', 'running')],
    ...extra,
  });

const nodesOf = (
  snapshot: Snapshot,
  {
    count = 1,
    before = none,
    states = {},
  }: { count?: number; before?: SparesByService; states?: Record<string, NodeState> } = {},
): readonly string[] =>
  spareImages(snapshot, aLiveness(snapshot, states), { count, before }).get('shop/web')?.nodeIds ?? [];

describe('images ahead of need', () => {
  it('are on the nodes that the next task would be placed on, and never where the service runs', () => {
    expect(nodesOf(world())).toEqual(['id-n2']);
    expect(nodesOf(world(), { count: 2 })).toEqual(['id-n2', 'id-n3']);
    expect(nodesOf(world(), { count: 10 })).toEqual(['id-n2', 'id-n3', 'id-n4']);
    expect(nodesOf(world(), { count: 0 })).toEqual([]);
  });

  it('are where the service may run: constraints, drains and room count', () => {
    const constraints = [{ attribute: 'node.hostname', operator: '!=' as const, value: 'n2' }];
    expect(nodesOf(world({ placement: { constraints, spread: [] } }))).toEqual(['id-n3']);
    const drained = nodes.map((node) => (node.name === 'n2' ? { ...node, availability: 'drain' as const } : node));
    expect(nodesOf(world({}, { nodes: drained }))).toEqual(['id-n3']);
    expect(nodesOf(world(), { states: { 'id-n2': 'down' } })).toEqual(['id-n3']);
    const template = aTemplate({ reservations: { cpuMillis: 0, memoryBytes: 2_048 * MiB } });
    expect(nodesOf(world({ template }))).toEqual([]);
  });

  it('stay where they are while load changes or the node is suspected, and move when it is lost or needs them no more', () => {
    const before = spareImages(world(), aLiveness(world()), { count: 1, before: none });
    const busy = world(
      {},
      { tasks: [aTask({ id: 't1', nodeId: 'id-n1' }), aTask({ id: 'o', service: 'other', nodeId: 'id-n2' })] },
    );
    expect(nodesOf(busy)).toEqual(['id-n3']);
    expect(nodesOf(busy, { before })).toEqual(['id-n2']);
    expect(nodesOf(world(), { before, states: { 'id-n2': 'suspect' } })).toEqual(['id-n2']);
    expect(nodesOf(world(), { before, states: { 'id-n2': 'down' } })).toEqual(['id-n3']);
    const grown = world(
      {},
      { tasks: [aTask({ id: 't1', nodeId: 'id-n1' }), aTask({ id: 't2', slot: 2, nodeId: 'id-n2' })] },
    );
    expect(nodesOf(grown, { before })).toEqual(['id-n3']);
  });

  it.each<[string, Partial<ServiceSpec>]>([
    ['runs on every node', { mode: 'global' }],
    ['is not begun anew', { restart: { condition: 'none' } }],
    [
      'has a volume that stays',
      {
        template: aTemplate({
          mounts: [{ kind: 'volume', volume: 'shop_data', target: '/data', readOnly: false, noCopy: false }],
        }),
      },
    ],
  ])('are nowhere for a service that %s', (_, over) => {
    expect(nodesOf(world(over))).toEqual([]);
  });

  it('are nowhere for what does not run', () => {
    expect(nodesOf(world({}, { tasks: [], statuses: [] }))).toEqual([]);
    expect(nodesOf(world({}, { statuses: [aStatus('t1', 'failed')] }))).toEqual([]);
  });

  it('are those of the version that is declared', () => {
    const image = { reference: 'registry.test/web:2', digest: `sha256:${'b'.repeat(64)}` };
    const snapshot = world({ template: aTemplate({ image }) });
    const spares = spareImages(snapshot, aLiveness(snapshot), { count: 1, before: none });
    expect([...sparesOfNodes(spares)]).toEqual([['id-n2', [image]]]);
  });

  it('are told to a node once, however many services want them', () => {
    const { image } = aTemplate();
    const spares: SparesByService = new Map([
      ['shop/web', { image, nodeIds: ['id-n2', 'id-n3'] }],
      ['shop/api', { image: { ...image }, nodeIds: ['id-n2'] }],
    ]);
    expect([...sparesOfNodes(spares)]).toEqual([
      ['id-n2', [image]],
      ['id-n3', [image]],
    ]);
  });

  it('draw the replacement of what was lost, before a node with less to do', () => {
    const snapshot = world(
      {},
      { tasks: [aTask({ id: 't1', nodeId: 'id-n1' }), aTask({ id: 'o', service: 'other', nodeId: 'id-n4' })] },
    );
    const spares: SparesByService = new Map([['shop/web', { image: aTemplate().image, nodeIds: ['id-n4'] }]]);
    const liveness = aLiveness(snapshot, { 'id-n1': 'down' });
    const placed = (given?: SparesByService): readonly (string | undefined)[] =>
      plan(
        snapshot,
        aPlanInput(snapshot, { liveness, ...(given === undefined ? {} : { spares: given }) }),
      ).changes.flatMap((change) =>
        change.kind === 'put-task' && change.task.id.startsWith('new') ? [change.task.nodeId] : [],
      );
    expect(placed()).toEqual(['id-n2']);
    expect(placed(spares)).toEqual(['id-n4']);
  });
});
