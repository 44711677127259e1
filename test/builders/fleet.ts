/** A large cluster, the same at each call: what benchmarks and tests of size plan for. */
import { formatCidr, nodeSubnetPrefix, parseCidr } from '../../controller/network/subnets.ts';
import type { Snapshot } from '../../controller/plan/snapshot.ts';
import type { NodeLiveness, NodeState } from '../../proto/domain/node.ts';
import { anywhere } from '../../proto/domain/placement.ts';
import type { Placement } from '../../proto/domain/placement.ts';
import { noResources } from '../../proto/domain/resources.ts';
import type { Resources } from '../../proto/domain/resources.ts';
import type { ServiceSpec } from '../../proto/domain/service.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import { aFacts, aNode, aServiceSpec, aSnapshot, aStack, aTemplate, MiB, startMs } from './domain.ts';

export interface FleetSize {
  readonly nodes: number;
  readonly services: number;
  readonly tasks: number;
}

/** `plain`: equal small reservations, any node. `constrained`: a constraint, spread, a bound for each node, mixed reservations. */
export type FleetKind = 'plain' | 'constrained';

const servicesPerStack = 20;
const zones = 10;
const racks = 200;
const GiB = 1024 * MiB;
/** The default pool has 4,096 node subnets. */
const containerPool = '10.0.0.0/9';
const vipPool = '10.200.0.0/16';

/** Nodes and what is declared; nothing runs yet. */
export function aFleet({ nodes: count, services, tasks }: FleetSize, kind: FleetKind): Snapshot {
  const { first } = parseCidr(containerPool);
  const nodes = Array.from({ length: count }, (_, index) =>
    aNode(`n${String(index)}`, {
      subnet: formatCidr({ first: first + index * 256, prefix: nodeSubnetPrefix }),
      labels: {
        zone: `z${String(index % zones)}`,
        rack: `r${String(index % racks)}`,
        disk: Math.floor(index / zones) % 2 === 0 ? 'ssd' : 'hdd',
      },
    }),
  );
  const facts = nodes.map(({ id }, index) =>
    aFacts(id, {
      address: formatCidr({ first: (172 << 24) + (16 << 16) + index, prefix: 32 }).replace('/32', ''),
      capacity: { cpuMillis: index % 3 === 0 ? 16_000 : 32_000, memoryBytes: (index % 3 === 0 ? 64 : 128) * GiB },
    }),
  );
  const specs = sizesOf(services, tasks).map((replicas, index) => aServiceOf(index, replicas, kind));
  const stacks = Array.from({ length: Math.ceil(services / servicesPerStack) }, (_, index) =>
    aStack(`stack${String(index)}`, specs.slice(index * servicesPerStack, (index + 1) * servicesPerStack)),
  );
  return { ...aSnapshot({ nodes, facts, stacks, vipPool }), containerPool };
}

/** Few large services and many small ones, as clusters have them; they add up to `tasks`. */
export function sizesOf(services: number, tasks: number): readonly number[] {
  const weights = Array.from({ length: services }, (_, index) => (index + 20) ** -1.6);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const sizes = weights.map((weight) => Math.max(1, Math.floor((weight / sum) * tasks)));
  const rest = tasks - sizes.reduce((total, size) => total + size, 0);
  return sizes.map((size, index) => size + (index === 0 ? rest : 0));
}

function aServiceOf(index: number, replicas: number, kind: FleetKind): ServiceSpec {
  const name = `s${String(index)}`;
  const stack = `stack${String(Math.floor(index / servicesPerStack))}`;
  const plain = kind === 'plain';
  return aServiceSpec({
    name,
    replicas,
    placement: plain ? anywhere : placementOf(index),
    template: aTemplate({
      image: { reference: `registry.test/${name}:1`, digest: `sha256:${String(index).padStart(64, 'a')}` },
      environment: { LOG_LEVEL: 'info', PORT: '8080', DATABASE: `postgres://db.${stack}/app` },
      labels: { team: `team${String(index % 40)}` },
      limits: { memoryBytes: GiB, pids: 512 },
      reservations: plain ? { cpuMillis: 100, memoryBytes: 256 * MiB } : (mixed[index % mixed.length] ?? noResources),
      networks: [{ network: `${stack}_default`, aliases: [name] }],
    }),
  });
}

const mixed: readonly Resources[] = [
  { cpuMillis: 250, memoryBytes: 128 * MiB },
  { cpuMillis: 1_000, memoryBytes: 2 * GiB },
  { cpuMillis: 100, memoryBytes: 512 * MiB },
  { cpuMillis: 2_000, memoryBytes: GiB },
  { cpuMillis: 500, memoryBytes: 4 * GiB },
];

function placementOf(index: number): Placement {
  return {
    constraints: [
      { attribute: 'node.labels.disk', operator: '==', value: index % 2 === 0 ? 'ssd' : 'hdd' },
      { attribute: 'node.labels.zone', operator: '!=', value: `z${String(index % zones)}` },
    ],
    spread: index % 4 === 0 ? ['node.labels.zone', 'node.labels.rack'] : ['node.labels.zone'],
    maxReplicasPerNode: 2,
  };
}

/** Every placed task that has no status yet runs, with an address of its node's subnet. */
export function allRunning(snapshot: Snapshot): Snapshot {
  const statuses = new Map(snapshot.statuses);
  const used = new Map<string, number>();
  for (const { value: task } of snapshot.tasks.values()) {
    const { id, nodeId } = task;
    if (nodeId === undefined || statuses.has(id)) continue;
    const host = (used.get(nodeId) ?? 1) + 1;
    used.set(nodeId, host);
    const [network = ''] = (snapshot.nodes.get(nodeId)?.value.subnet ?? '').split('/');
    statuses.set(id, runningStatus(id, network.replace(/\d+$/, String(host))));
  }
  return { ...snapshot, statuses };
}

const runningStatus = (taskId: string, address: string): TaskStatus => ({
  taskId,
  state: 'running',
  health: 'none',
  sinceMs: startMs,
  startedAtMs: startMs,
  ranAtMs: startMs,
  address,
});

/** Each node in the same state but for the first `lost` of them, which are down. */
export function fleetLiveness(snapshot: Snapshot, lost = 0): ReadonlyMap<string, NodeLiveness> {
  const state = (index: number): NodeState => (index < lost ? 'down' : 'ready');
  return new Map([...snapshot.nodes.keys()].map((id, index) => [id, { state: state(index), sinceMs: startMs }]));
}
