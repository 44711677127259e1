import { describe, expect, it } from 'vitest';
import { plan } from '../../../controller/plan/plan.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { Node } from '../../../proto/domain/node.ts';
import type { Pin, ServiceSpec, TaskTemplate } from '../../../proto/domain/service.ts';
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
import type { SnapshotParts } from '../../builders/domain.ts';
import { changedTask, created, putTasks, settle, threeNodes, withStates } from './fixture.ts';

const withVolume = (volume = 'shop_data', over: Partial<TaskTemplate> = {}): TaskTemplate =>
  aTemplate({ mounts: [{ kind: 'volume', volume, target: '/data', readOnly: false, noCopy: false }], ...over });
const db = (over: Partial<ServiceSpec> = {}): ServiceSpec =>
  aServiceSpec({ name: 'db', template: withVolume(), ...over });
const dbTask = (over: Parameters<typeof aTask>[0] = {}) =>
  aTask({ id: 'd1', service: 'db', template: withVolume(), nodeId: 'id-n2', ...over });

/** `db` with its volume on n2, where it runs. */
function pinned(parts: SnapshotParts = {}, pins: readonly Pin[] = [{ slot: 1, nodeId: 'id-n2' }]): Snapshot {
  return aSnapshot({
    stacks: [aStack('shop', [db()])],
    services: [aService({ name: 'db', pins })],
    nodes: threeNodes,
    tasks: [dbTask()],
    statuses: [aStatus('d1', 'running')],
    ...parts,
  });
}
const pinsOf = (snapshot: Snapshot, name = 'db'): readonly Pin[] | undefined =>
  snapshot.services.get(`shop/${name}`)?.value.pins;

describe('a slot with a named volume', () => {
  it('is pinned in the pass that first places it', () => {
    const snapshot = aSnapshot({ stacks: [aStack('shop', [db({ replicas: 2 })])], nodes: threeNodes });
    const next = settle(snapshot, aPlanInput(snapshot));
    expect(pinsOf(next)).toEqual([
      { slot: 1, nodeId: 'id-n1' },
      { slot: 2, nodeId: 'id-n2' },
    ]);
  });

  it('goes where it was, though others are emptier', () => {
    const snapshot = pinned({
      stacks: [aStack('shop', [db(), aServiceSpec({ replicas: 4 })])],
      tasks: [dbTask(), ...[1, 2, 3, 4].map((slot) => aTask({ id: `w${String(slot)}`, slot, nodeId: 'id-n2' }))],
      statuses: [aStatus('d1', 'failed'), ...[1, 2, 3, 4].map((slot) => aStatus(`w${String(slot)}`, 'running'))],
    });
    expect(created(plan(snapshot, aPlanInput(snapshot)))).toMatchObject([{ service: 'db', nodeId: 'id-n2' }]);
  });

  const nodesWith = (over: Partial<Node>) => threeNodes.map((node) => (node.name === 'n2' ? aNode('n2', over) : node));
  it.each<[string, SnapshotParts, string]>([
    ['is paused', { nodes: nodesWith({ availability: 'pause' }) }, 'which is paused'],
    ['is drained', { nodes: nodesWith({ availability: 'drain' }) }, 'which is drained'],
    [
      'lacks room',
      { facts: [aFacts('id-n1'), aFacts('id-n2', { capacity: { cpuMillis: 1, memoryBytes: MiB } }), aFacts('id-n3')] },
      'which lacks memory (need 64 MiB, free 1 MiB)',
    ],
  ])('waits while its node %s', (_, parts, reason) => {
    const template = withVolume('shop_data', { reservations: { cpuMillis: 0, memoryBytes: 64 * MiB } });
    const stacks = [aStack('shop', [db({ template })])];
    const { nodeId: _unplaced, ...pending } = dbTask({ template });
    const snapshot = pinned({ stacks, tasks: [pending], statuses: [], ...parts });
    const result = plan(snapshot, aPlanInput(snapshot));
    expect(result.changes).toEqual([]);
    expect(result.reasons.get('d1')).toBe(`volume shop_data of slot 1 is on node n2, ${reason}`);
  });

  it('waits for its lost node, and goes back there when it returns', () => {
    const snapshot = pinned();
    const input = withStates(snapshot, { 'id-n2': 'down' });
    const result = plan(snapshot, input);
    expect(changedTask(result, 'd1')?.orphaned).toBe(true);
    expect(created(result)[0]?.nodeId).toBeUndefined();
    expect([...result.reasons.values()]).toEqual(['volume shop_data of slot 1 is on node n2, which is down']);
    const lost = settle(snapshot, input);
    expect(putTasks(plan(lost, aPlanInput(lost)).changes)).toMatchObject([{ slot: 1, nodeId: 'id-n2', attempt: 1 }]);
  });

  it('is placed anew when its node has left the cluster for good', () => {
    const snapshot = pinned({ nodes: [aNode('n1'), aNode('n3')] });
    const next = settle(snapshot, aPlanInput(snapshot));
    expect(next.tasks.get('new-1')?.value.nodeId).toBe('id-n1');
    expect(pinsOf(next)).toEqual([{ slot: 1, nodeId: 'id-n1' }]);
  });

  it('is placed anew while all its attempts were rejected, as nothing is on that node yet', () => {
    const rejected = pinned({ statuses: [aStatus('d1', 'rejected')] });
    const avoided = pinned({
      tasks: [dbTask(), dbTask({ id: 'd2', attempt: 1 })],
      statuses: [aStatus('d1', 'rejected'), aStatus('d2', 'rejected')],
    });
    expect(pinsOf(settle(rejected, aPlanInput(rejected)))).toEqual([{ slot: 1, nodeId: 'id-n1' }]);
    expect(pinsOf(settle(avoided, aPlanInput(avoided)))).toEqual([{ slot: 1, nodeId: 'id-n1' }]);
    const ranOnce = pinned({
      tasks: [dbTask({ desired: 'shutdown' }), dbTask({ id: 'd2', attempt: 1 }), dbTask({ id: 'd3', attempt: 2 })],
      statuses: [aStatus('d1', 'failed'), aStatus('d2', 'rejected'), aStatus('d3', 'rejected')],
    });
    expect(pinsOf(settle(ranOnce, aPlanInput(ranOnce)))).toEqual([{ slot: 1, nodeId: 'id-n2' }]);
  });

  it('finds its volume again when it was not wanted for a while, whatever comes of its new tasks', () => {
    const second = dbTask({ id: 'd2', slot: 2, nodeId: 'id-n3' });
    const pins = [
      { slot: 1, nodeId: 'id-n2' },
      { slot: 2, nodeId: 'id-n3' },
    ];
    const both = { tasks: [dbTask(), second], statuses: [aStatus('d1', 'running'), aStatus('d2', 'running')] };
    const scaled = pinned(both, pins);
    const kept = [pins[0], { slot: 2, nodeId: 'id-n3', kept: true }];
    expect(pinsOf(settle(scaled, aPlanInput(scaled)))).toEqual(kept);
    const again = { ...both, services: [aService({ name: 'db', pins: [...pins.slice(0, 1), { slot: 2, nodeId: 'id-n3', kept: true as const }] })], stacks: [aStack('shop', [db({ replicas: 2 })])] }; // prettier-ignore
    const back = pinned({ ...again, tasks: [dbTask()], statuses: [aStatus('d1', 'running')] });
    expect(created(plan(back, aPlanInput(back)))).toMatchObject([{ slot: 2, nodeId: 'id-n3' }]);
    const rejected = pinned({ ...again, statuses: [aStatus('d1', 'running'), aStatus('d2', 'rejected')] });
    expect(pinsOf(settle(rejected, aPlanInput(rejected)))).toEqual(kept);
  });

  it('loses its pin with the volume, and one that is not wanted any more when nothing of it came to start', () => {
    const pins = [1, 2].map((slot) => ({ slot, nodeId: 'id-n2' }));
    const scaled = pinned(
      {
        tasks: [dbTask(), dbTask({ id: 'd2', slot: 2 })],
        statuses: [aStatus('d1', 'running'), aStatus('d2', 'rejected')],
      },
      pins,
    );
    expect(pinsOf(settle(scaled, aPlanInput(scaled)))).toEqual([{ slot: 1, nodeId: 'id-n2' }]);
    const bare = pinned({ stacks: [aStack('shop', [db({ template: aTemplate() })])] });
    expect(pinsOf(settle(bare, aPlanInput(bare)))).toEqual([]);
  });

  it('gets its pin back from its task, when the commit of the pin was lost', () => {
    const snapshot = pinned({}, []);
    expect(pinsOf(settle(snapshot, aPlanInput(snapshot)))).toEqual([{ slot: 1, nodeId: 'id-n2' }]);
  });

  it.each<[string, TaskTemplate['mounts'][number]]>([
    ['an anonymous volume', { kind: 'volume', target: '/data', readOnly: false, noCopy: false }],
    ['a bind mount', { kind: 'bind', source: '/srv', target: '/data', readOnly: false, createSource: false }],
  ])('is one with a name: %s pins nothing', (_, mount) => {
    const stack = aStack('shop', [db({ template: aTemplate({ mounts: [mount] }) })]);
    const snapshot = aSnapshot({ stacks: [stack], nodes: threeNodes });
    expect(pinsOf(settle(snapshot, aPlanInput(snapshot)))).toEqual([]);
  });
});

describe('a service that is gone', () => {
  const kept = [{ slot: 1, nodeId: 'id-n2', kept: true as const }];
  const keptOf = (snapshot: Snapshot) => snapshot.keptPins.get('shop/db')?.value;

  it('leaves its pins behind when its last task has gone, and takes them up when it is declared again', () => {
    const removed = pinned({ stacks: [] });
    const stopping = settle(removed, aPlanInput(removed));
    expect([pinsOf(stopping), keptOf(stopping)]).toEqual([kept, undefined]);
    const ended = { ...stopping, statuses: new Map([['d1', aStatus('d1', 'shutdown')]]) };
    const gone = settle(ended, aPlanInput(ended));
    expect([pinsOf(gone), keptOf(gone)]).toEqual([undefined, kept]);
    const stacks = aSnapshot({ stacks: [aStack('shop', [db()])] }).stacks;
    const again = { ...gone, stacks };
    expect(created(plan(again, aPlanInput(again)))).toMatchObject([{ service: 'db', nodeId: 'id-n2' }]);
    const input = withStates(again, { 'id-n2': 'down' });
    const result = plan(again, input);
    expect(created(result)[0]?.nodeId).toBeUndefined();
    expect([...result.reasons.values()]).toEqual(['volume shop_data of slot 1 is on node n2, which is down']);
  });

  it('leaves none when it was without a volume in the end, or its only tasks never started', () => {
    const bare = pinned({
      stacks: [aStack('shop', [db({ template: aTemplate() })])],
      tasks: [],
      statuses: [],
      keptPins: { 'shop/db': kept },
    });
    const removed = { ...settle(bare, aPlanInput(bare)), stacks: new Map(), tasks: new Map(), statuses: new Map() };
    expect(keptOf(settle(removed, aPlanInput(removed)))).toBeUndefined();
    const never = pinned({ stacks: [], statuses: [aStatus('d1', 'rejected')] });
    expect(keptOf(settle(never, aPlanInput(never)))).toBeUndefined();
  });

  it('is forgotten with the last node that has something of it', () => {
    const snapshot = aSnapshot({ nodes: [aNode('n1')], keptPins: { 'shop/db': kept, 'shop/other': [{ slot: 1, nodeId: 'id-n1' }] } }); // prettier-ignore
    expect([...settle(snapshot, aPlanInput(snapshot)).keptPins.keys()]).toEqual(['shop/other']);
  });
});

describe('another service with the same volume', () => {
  const backup = (over: Partial<ServiceSpec> = {}) => aServiceSpec({ name: 'backup', template: withVolume(), ...over });

  it('goes to the node that has it, also when both are new', () => {
    const snapshot = pinned({ stacks: [aStack('shop', [backup(), db()])] });
    expect(created(plan(snapshot, aPlanInput(snapshot)))).toMatchObject([{ service: 'backup', nodeId: 'id-n2' }]);
    const fresh = aSnapshot({ stacks: [aStack('shop', [backup(), db()])], nodes: threeNodes });
    const both = created(plan(fresh, aPlanInput(fresh))).map(({ nodeId }) => nodeId);
    expect(both).toEqual(['id-n1', 'id-n1']);
  });

  it('goes elsewhere where it does not fit there, and not to another volume’s node', () => {
    const template = withVolume('shop_data', { reservations: { cpuMillis: 0, memoryBytes: 64 * MiB } });
    const facts = [aFacts('id-n1'), aFacts('id-n2', { capacity: { cpuMillis: 1, memoryBytes: MiB } }), aFacts('id-n3')];
    const crowded = pinned({ stacks: [aStack('shop', [backup({ template }), db()])], facts });
    expect(created(plan(crowded, aPlanInput(crowded)))[0]?.nodeId).toBe('id-n1');
    const other = pinned({ stacks: [aStack('shop', [backup({ template: withVolume('other') }), db()])] });
    expect(created(plan(other, aPlanInput(other)))[0]?.nodeId).toBe('id-n1');
  });
});
