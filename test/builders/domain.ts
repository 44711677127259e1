/** Domain values with everything filled in: a test names only what it is about. */
import { createHash } from 'node:crypto';
import { monoMs, wallMs } from '../../proto/base/clock.ts';
import type { ContentFacts } from '../../proto/domain/content.ts';
import type { Node, NodeFacts, NodeLiveness, NodeState } from '../../proto/domain/node.ts';
import { anywhere } from '../../proto/domain/placement.ts';
import { defaultUpdatePolicy } from '../../proto/domain/update.ts';
import type { Rollout } from '../../proto/domain/update.ts';
import type { Pin, Service, ServiceSpec, Stack, StackSpec, TaskTemplate } from '../../proto/domain/service.ts';
import { serviceId } from '../../proto/domain/service.ts';
import { isEnded } from '../../proto/domain/task.ts';
import type { Task, TaskState, TaskStatus } from '../../proto/domain/task.ts';
import { templateHash } from '../../controller/plan/draft.ts';
import type { PlanInput, Snapshot, Stored } from '../../controller/plan/snapshot.ts';

export const MiB = 1024 * 1024;
/** The wall time at which tests begin. */
export const startMs = 1_800_000_000_000;

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

export function aTemplate(over: Partial<TaskTemplate> = {}): TaskTemplate {
  return {
    image: { reference: 'registry.test/web:1', digest: `sha256:${'a'.repeat(64)}` },
    environment: {},
    labels: {},
    limits: {},
    reservations: { cpuMillis: 0, memoryBytes: 0 },
    stopGracePeriodMs: 10_000,
    drainDelayMs: 0,
    mounts: [],
    files: [],
    networks: [{ network: 'shop_default', aliases: [] }],
    generation: 0,
    ...over,
  };
}

export function aServiceSpec(over: Partial<ServiceSpec> = {}): ServiceSpec {
  return {
    name: 'web',
    template: aTemplate(),
    mode: 'replicated',
    replicas: 1,
    restart: { condition: 'any' },
    ports: [],
    labels: {},
    placement: anywhere,
    update: defaultUpdatePolicy,
    rollback: defaultUpdatePolicy,
    dependsOn: [],
    pullPolicy: 'always',
    ...over,
  };
}

export function aStackSpec(name = 'shop', services: readonly ServiceSpec[] = [aServiceSpec()]): StackSpec {
  // Whatever networks the services name are declared.
  const names = new Set(services.flatMap(({ template }) => template.networks.map(({ network }) => network)));
  const networks = [...names].map((network) => ({
    key: network,
    name: network,
    external: false,
    internal: false,
    labels: {},
  }));
  return { name, services, networks, volumes: [] };
}

export function aStack(
  name = 'shop',
  services: readonly ServiceSpec[] = [aServiceSpec()],
  over: Partial<Stack> = {},
): Stack {
  return {
    spec: aStackSpec(name, services),
    version: 1,
    declaredVersion: 1,
    keptContents: [],
    appliedAtMs: startMs,
    appliedBy: 'ana',
    ...over,
  };
}

export function aService(over: Partial<Service> = {}): Service {
  return { stack: 'shop', name: 'web', vip: '10.80.0.1', ports: [], released: true, pins: [], ...over };
}

/** Of `shop/web` to version 2, just begun. */
export function aRollout(over: Partial<Rollout> = {}): Rollout {
  return {
    version: 2,
    state: 'updating',
    templateHash: templateHash(aTemplate(), sha256),
    startedAtMs: startMs,
    batches: 0,
    failedSlots: [],
    ...over,
  };
}

/** A running-desired task of `shop/web` slot 1; its hash follows its template. */
export function aTask(over: Partial<Task> = {}): Task {
  const template = over.template ?? aTemplate();
  return {
    id: 'task-1',
    stack: 'shop',
    service: 'web',
    slot: 1,
    template,
    templateHash: templateHash(template, sha256),
    desired: 'running',
    attempt: 0,
    quickFailures: 0,
    restarts: 0,
    createdAtMs: startMs,
    restartedAtMs: [],
    ...over,
  };
}

/** In `state` since `startMs`; one that has run or ended started then, too, unless it was rejected. */
export function aStatus(taskId: string, state: TaskState, over: Partial<TaskStatus> = {}): TaskStatus {
  const started = state === 'running' || (isEnded(state) && state !== 'rejected');
  return {
    taskId,
    state,
    health: 'none',
    sinceMs: startMs,
    ...(started ? { startedAtMs: startMs } : {}),
    ...(isEnded(state) ? { finishedAtMs: startMs } : {}),
    ...over,
  };
}

/** Its subnet follows the number at the end of its name. */
export function aNode(name = 'n1', over: Partial<Node> = {}): Node {
  return {
    id: `id-${name}`,
    name,
    availability: 'active',
    subnet: `10.64.${/\d+$/.exec(name)?.[0] ?? '0'}.0/24`,
    joinedAtMs: startMs,
    labels: {},
    ...over,
  };
}

export function aFacts(nodeId: string, over: Partial<NodeFacts> = {}): NodeFacts {
  return {
    nodeId,
    address: '192.0.2.1',
    livenessPort: 7946,
    capacity: { cpuMillis: 4_000, memoryBytes: 1_024 * MiB },
    architecture: 'amd64',
    os: 'linux',
    agentVersion: '0.1.0',
    ...over,
  };
}

export interface SnapshotParts {
  readonly stacks?: readonly Stack[];
  readonly services?: readonly Service[];
  readonly tasks?: readonly Task[];
  readonly statuses?: readonly TaskStatus[];
  readonly nodes?: readonly Node[];
  /** Default: one for each node. */
  readonly facts?: readonly NodeFacts[];
  readonly contents?: readonly ContentFacts[];
  /** By `stack/service`. */
  readonly keptPins?: Readonly<Record<string, readonly Pin[]>>;
  readonly vipPool?: string;
}

/** Every record has `modRevision` 1. */
export function aSnapshot(parts: SnapshotParts = {}): Snapshot {
  const nodes = parts.nodes ?? [];
  return {
    revision: 1,
    containerPool: '10.64.0.0/12',
    vipPool: parts.vipPool ?? '10.80.0.0/16',
    stacks: storedBy(parts.stacks ?? [], (stack) => stack.spec.name),
    services: storedBy(parts.services ?? [], (service) => serviceId(service.stack, service.name)),
    keptPins: new Map(Object.entries(parts.keptPins ?? {}).map(([id, value]) => [id, { value, modRevision: 1 }])),
    tasks: storedBy(parts.tasks ?? [], (task) => task.id),
    statuses: new Map((parts.statuses ?? []).map((status) => [status.taskId, status])),
    nodes: storedBy(nodes, (node) => node.id),
    contents: storedBy(parts.contents ?? [], (content) => content.id),
    facts: new Map((parts.facts ?? nodes.map((node) => aFacts(node.id))).map((facts) => [facts.nodeId, facts])),
  };
}

/** Every node of the snapshot is ready except those in `states`, by node id (undefined: not heard). */
export function aLiveness(
  snapshot: Snapshot,
  states: Readonly<Record<string, NodeState | undefined>> = {},
): ReadonlyMap<string, NodeLiveness> {
  const heard = [...snapshot.nodes.keys()].flatMap((id): [string, NodeLiveness][] => {
    const state = id in states ? states[id] : 'ready';
    return state === undefined ? [] : [[id, { state, sinceMs: startMs }]];
  });
  return new Map(heard);
}

/** Ids `new-1`, `new-2` … */
export function aPlanInput(snapshot: Snapshot, over: Partial<PlanInput> & { readonly wall?: number } = {}): PlanInput {
  let count = 0;
  const { wall = startMs, ...rest } = over;
  return {
    now: { monoMs: monoMs(1_000), wallMs: wallMs(wall) },
    newId: () => `new-${String((count += 1))}`,
    liveness: aLiveness(snapshot),
    hash: sha256,
    ...rest,
  };
}

function storedBy<T>(values: readonly T[], keyOf: (value: T) => string): ReadonlyMap<string, Stored<T>> {
  return new Map(values.map((value) => [keyOf(value), { value, modRevision: 1 }]));
}
