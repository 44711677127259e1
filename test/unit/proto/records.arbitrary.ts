/** Random records for property tests. Optional fields are sometimes absent; names are never empty. */
import fc from 'fast-check';
import type { RevisedUnit, Unit } from '../../../proto/domain/assignment.ts';
import type { ClusterRecord, JoinTokenRecord } from '../../../proto/domain/cluster.ts';
import type { Node, NodeFacts } from '../../../proto/domain/node.ts';
import type { ResourceLimits, Resources } from '../../../proto/domain/resources.ts';
import type { PublishedPort, Service, ServiceSpec, Stack, TaskTemplate } from '../../../proto/domain/service.ts';
import { taskStates } from '../../../proto/domain/task.ts';
import type { Task, TaskStatus } from '../../../proto/domain/task.ts';
import type { NodeView, ServiceView, TaskView } from '../../../proto/domain/views.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 8 });
const named = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 });
const uint32 = fc.nat({ max: 2 ** 32 - 1 });
const int64 = fc.maxSafeInteger();
const exitCode = fc.integer();
const bytes = fc.uint8Array({ maxLength: 40 });
const texts = fc.array(text, { maxLength: 3 });
const map = fc.dictionary(text, text, { maxKeys: 4, noNullPrototype: true });
const protocol = fc.constantFrom('tcp', 'udp');
const state = fc.constantFrom(...taskStates);
const health = fc.constantFrom('none', 'starting', 'healthy', 'unhealthy');
const desired = fc.constantFrom('running', 'shutdown', 'remove');
const availability = fc.constantFrom('active', 'pause', 'drain');

const resources: fc.Arbitrary<Resources> = fc.record({ cpuMillis: int64, memoryBytes: int64 });
const limits: fc.Arbitrary<ResourceLimits> = fc.record(
  { cpuMillis: int64, memoryBytes: int64, pids: int64 },
  { requiredKeys: [] },
);
const publishedPort: fc.Arbitrary<PublishedPort> = fc.record({ target: uint32, published: uint32, protocol });
const ports = fc.array(publishedPort, { maxLength: 3 });

export const template: fc.Arbitrary<TaskTemplate> = fc.record(
  {
    image: fc.record({ reference: named, digest: text }),
    entrypoint: texts,
    command: texts,
    environment: map,
    user: text,
    workingDir: text,
    labels: map,
    limits,
    reservations: resources,
    stopGracePeriodMs: int64,
  },
  { requiredKeys: ['image', 'environment', 'labels', 'limits', 'reservations', 'stopGracePeriodMs'] },
);

const serviceSpec: fc.Arbitrary<ServiceSpec> = fc.record({
  name: named,
  template,
  replicas: uint32,
  restart: fc.record(
    { condition: fc.constantFrom('any', 'on-failure', 'none'), maxAttempts: uint32 },
    { requiredKeys: ['condition'] },
  ),
  ports: fc.array(
    fc.record({ target: uint32, published: uint32, protocol }, { requiredKeys: ['target', 'protocol'] }),
    { maxLength: 2 },
  ),
});

export const stack: fc.Arbitrary<Stack> = fc.record({
  spec: fc.record({ name: named, services: fc.array(serviceSpec, { maxLength: 2 }) }),
  version: uint32,
  appliedAtMs: int64,
  appliedBy: text,
});

export const service: fc.Arbitrary<Service> = fc.record({ stack: named, name: named, vip: named, ports });

export const task: fc.Arbitrary<Task> = fc.record(
  {
    id: named,
    stack: named,
    service: named,
    slot: uint32,
    template,
    templateHash: text,
    nodeId: text,
    desired,
    desiredReason: text,
    orphaned: fc.boolean(),
    attempt: uint32,
    quickFailures: uint32,
    restarts: uint32,
    createdAtMs: int64,
    notBeforeMs: int64,
  },
  {
    requiredKeys: [
      ...(['id', 'stack', 'service', 'slot', 'template', 'templateHash', 'desired'] as const),
      ...(['attempt', 'quickFailures', 'restarts', 'createdAtMs'] as const),
    ],
  },
);

export const taskStatus: fc.Arbitrary<TaskStatus> = fc.record(
  {
    taskId: named,
    state,
    health,
    sinceMs: int64,
    startedAtMs: int64,
    finishedAtMs: int64,
    address: text,
    exitCode,
    reason: text,
  },
  { requiredKeys: ['taskId', 'state', 'health', 'sinceMs'] },
);

export const node: fc.Arbitrary<Node> = fc.record({
  id: named,
  name: named,
  availability,
  subnet: named,
  joinedAtMs: int64,
});

export const nodeFacts: fc.Arbitrary<NodeFacts> = fc.record({
  nodeId: named,
  address: named,
  livenessPort: uint32,
  capacity: resources,
  architecture: text,
  os: text,
  agentVersion: text,
});

export const joinToken: fc.Arbitrary<JoinTokenRecord> = fc.record({ id: named, secretHash: bytes, expiresAtMs: int64 });

export const cluster: fc.Arbitrary<ClusterRecord> = fc.record({
  id: named,
  secret: bytes,
  containerPool: named,
  vipPool: named,
  epoch: uint32,
  caCertificate: text,
});

const assignedTask = fc.record({
  id: named,
  stack: named,
  service: named,
  slot: uint32,
  desired: fc.constantFrom('running', 'shutdown'),
  template,
});

export const unit: fc.Arbitrary<Unit> = fc.oneof(
  fc.record({ kind: fc.constant('tasks' as const), tasks: fc.array(assignedTask, { maxLength: 2 }) }),
  fc.record({
    kind: fc.constant('service' as const),
    stack: named,
    name: named,
    vip: named,
    ports,
    endpoints: fc.array(fc.record({ taskId: named, nodeId: named, address: named }), { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant('network' as const),
    containerPool: named,
    vipPool: named,
    peers: fc.array(fc.record({ nodeId: named, name: named, address: named, subnet: named }), { maxLength: 3 }),
  }),
);

export const revisedUnit: fc.Arbitrary<RevisedUnit> = fc.record({ revision: named, unit });

const iso = fc.date({ noInvalidDate: true }).map((date) => date.toISOString());
const orNull = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { nil: null });

export const taskView: fc.Arbitrary<TaskView> = fc.record({
  id: named,
  stack: text,
  service: text,
  slot: uint32,
  node: orNull(text),
  state,
  desiredState: desired,
  health,
  address: orNull(text),
  ports,
  image: text,
  since: orNull(iso),
  startedAt: orNull(iso),
  exitCode: orNull(exitCode),
  restarts: uint32,
  reason: orNull(text),
});

export const serviceView: fc.Arbitrary<ServiceView> = fc.record({
  stack: named,
  name: named,
  mode: fc.constant('replicated' as const),
  image: text,
  replicas: fc.record({ desired: uint32, running: uint32 }),
  ports,
});

export const nodeView: fc.Arbitrary<NodeView> = fc.record({
  id: named,
  name: named,
  state: fc.constantFrom('ready', 'suspect', 'unreachable', 'down'),
  availability,
  address: text,
  capacity: resources,
  reserved: resources,
  tasks: uint32,
  since: iso,
});

const heldUnit = fc.record({ key: text, revision: text });
const report = fc.record(
  {
    taskId: named,
    state,
    health,
    sinceAgoMs: int64,
    startedAgoMs: int64,
    finishedAgoMs: int64,
    address: text,
    exitCode,
    reason: text,
  },
  { requiredKeys: ['taskId', 'state', 'health', 'sinceAgoMs'] },
);

export const agentMessage = fc.oneof(
  fc.record({ kind: fc.constant('hello' as const), facts: nodeFacts, bootId: bytes, held: fc.array(heldUnit) }),
  fc.record({
    kind: fc.constant('statuses' as const),
    sequence: fc.nat(),
    reports: fc.array(report, { maxLength: 3 }),
  }),
);

export const controllerMessage = fc.oneof(
  fc.record({
    kind: fc.constant('welcome' as const),
    epoch: fc.nat(),
    nodeId: named,
    nodeName: named,
    subnet: named,
    livenessKey: bytes,
    livenessPort: uint32,
    heartbeatIntervalMs: uint32,
    insecureRegistries: fc.array(fc.string()),
  }),
  fc.record({ kind: fc.constant('unit' as const), key: named, unit: revisedUnit }),
  fc.record({ kind: fc.constant('removed' as const), key: named }),
  fc.record({ kind: fc.constant('ack' as const), sequence: fc.nat() }),
  fc.record({ kind: fc.constant('synced' as const) }),
);
