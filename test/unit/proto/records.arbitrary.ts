/** Random records for property tests. Optional fields are sometimes absent; names are never empty. */
import fc from 'fast-check';
import type { RevisedUnit, Unit } from '../../../proto/domain/assignment.ts';
import type { ClusterRecord, JoinTokenRecord } from '../../../proto/domain/cluster.ts';
import type { RegistryRecord } from '../../../proto/domain/registry.ts';
import type { Content, ContentRecord, FetchedContent } from '../../../proto/domain/content.ts';
import type { ClusterEvent } from '../../../proto/domain/event.ts';
import type { Node, NodeFacts } from '../../../proto/domain/node.ts';
import type { HealthCheck } from '../../../proto/domain/health.ts';
import type { FileMount, Mount } from '../../../proto/domain/mount.ts';
import type { Placement } from '../../../proto/domain/placement.ts';
import type { ResourceLimits, Resources } from '../../../proto/domain/resources.ts';
import type { Revision } from '../../../proto/domain/revision.ts';
import type { Pin, PublishedPort, Service, ServiceSpec, Stack, TaskTemplate } from '../../../proto/domain/service.ts';
import { taskStates } from '../../../proto/domain/task.ts';
import type { Task, TaskStatus } from '../../../proto/domain/task.ts';
import type { Rollout, UpdatePolicy } from '../../../proto/domain/update.ts';
import type {
  FailedAttempt,
  NodeView,
  RevisionView,
  ServiceView,
  Stuck,
  TaskView,
} from '../../../proto/domain/views.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 8 });
const named = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 });
const uint32 = fc.nat({ max: 2 ** 32 - 1 });
const int64 = fc.maxSafeInteger();
const exitCode = fc.integer();
const bytes = fc.uint8Array({ maxLength: 40 });
const texts = fc.array(text, { maxLength: 3 });
export const map = fc.dictionary(text, text, { maxKeys: 4, noNullPrototype: true });
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

const healthCheck: fc.Arbitrary<HealthCheck> = fc.record(
  { test: texts, intervalMs: int64, timeoutMs: int64, retries: uint32, startPeriodMs: int64, startIntervalMs: int64 },
  { requiredKeys: [] },
);

const mount: fc.Arbitrary<Mount> = fc.oneof(
  fc.record(
    {
      kind: fc.constant('volume' as const),
      volume: text,
      target: named,
      readOnly: fc.boolean(),
      noCopy: fc.boolean(),
      subpath: text,
    },
    { requiredKeys: ['kind', 'target', 'readOnly', 'noCopy'] },
  ),
  fc.record({
    kind: fc.constant('bind' as const),
    source: named,
    target: named,
    readOnly: fc.boolean(),
    createSource: fc.boolean(),
  }),
  fc.record(
    { kind: fc.constant('tmpfs' as const), target: named, readOnly: fc.boolean(), sizeBytes: int64, mode: uint32 },
    { requiredKeys: ['kind', 'target', 'readOnly'] },
  ),
);

const fileMount: fc.Arbitrary<FileMount> = fc.record(
  {
    kind: fc.constantFrom('config', 'secret'),
    name: named,
    contentId: text,
    target: named,
    uid: uint32,
    gid: uint32,
    mode: uint32,
  },
  { requiredKeys: ['kind', 'name', 'contentId', 'target'] },
);

const networks = fc.array(fc.record({ network: named, aliases: texts }), { maxLength: 2 });

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
    stopSignal: text,
    stopGracePeriodMs: int64,
    drainDelayMs: int64,
    fenceLeaseMs: int64,
    healthCheck,
    mounts: fc.array(mount, { maxLength: 3 }),
    files: fc.array(fileMount, { maxLength: 2 }),
    networks,
    generation: uint32,
  },
  {
    requiredKeys: [
      ...(['image', 'environment', 'labels', 'limits', 'reservations', 'stopGracePeriodMs'] as const),
      ...(['drainDelayMs', 'mounts', 'files', 'networks', 'generation'] as const),
    ],
  },
);

const placement: fc.Arbitrary<Placement> = fc.record(
  {
    constraints: fc.array(
      fc.record({ attribute: named, operator: fc.constantFrom('==' as const, '!=' as const), value: text }),
      { maxLength: 2 },
    ),
    spread: texts,
    maxReplicasPerNode: uint32,
  },
  { requiredKeys: ['constraints', 'spread'] },
);

const updatePolicy: fc.Arbitrary<UpdatePolicy> = fc.record({
  parallelism: uint32,
  delayMs: int64,
  order: fc.constantFrom('start-first', 'stop-first'),
  monitorMs: int64,
  failureAction: fc.constantFrom('pause', 'continue', 'rollback'),
  // Minus zero is written as nothing and read as zero.
  maxFailureRatio: fc.double({ min: 0, max: 1, noNaN: true }).map((ratio) => ratio + 0),
});

const rolloutState = fc.constantFrom(
  ...(['updating', 'completed', 'paused', 'rolling-back', 'rolled-back', 'rollback-paused'] as const),
);
const rollout: fc.Arbitrary<Rollout> = fc.record(
  {
    version: uint32,
    state: rolloutState,
    templateHash: text,
    startedAtMs: int64,
    endedAtMs: int64,
    batches: uint32,
    batchDoneAtMs: int64,
    failedSlots: fc.array(uint32, { maxLength: 3 }),
    reason: text,
  },
  { requiredKeys: ['version', 'state', 'templateHash', 'startedAtMs', 'batches', 'failedSlots'] },
);

const serviceSpec: fc.Arbitrary<ServiceSpec> = fc.record({
  name: named,
  template,
  replicas: uint32,
  restart: fc.record(
    { condition: fc.constantFrom('any', 'on-failure', 'none'), maxAttempts: uint32, delayMs: int64, windowMs: int64 },
    { requiredKeys: ['condition'] },
  ),
  ports: fc.array(
    fc.record({ target: uint32, published: uint32, protocol }, { requiredKeys: ['target', 'protocol'] }),
    { maxLength: 2 },
  ),
  mode: fc.constantFrom('replicated', 'global'),
  labels: map,
  placement,
  update: updatePolicy,
  rollback: updatePolicy,
  dependsOn: fc.array(
    fc.record({
      service: named,
      condition: fc.constantFrom('started' as const, 'healthy' as const, 'completed' as const),
      required: fc.boolean(),
    }),
    { maxLength: 2 },
  ),
  pullPolicy: fc.constantFrom('always', 'missing'),
});

const stackPart = { key: named, name: named, external: fc.boolean(), labels: map };

export const stack: fc.Arbitrary<Stack> = fc.record({
  spec: fc.record({
    name: named,
    services: fc.array(serviceSpec, { maxLength: 2 }),
    networks: fc.array(fc.record({ ...stackPart, internal: fc.boolean() }), { maxLength: 2 }),
    volumes: fc.array(fc.record(stackPart), { maxLength: 2 }),
  }),
  version: uint32,
  appliedAtMs: int64,
  appliedBy: text,
  declaredVersion: uint32,
  keptContents: fc.array(fc.record({ contentId: text, version: uint32 }), { maxLength: 2 }),
});

export const revision: fc.Arbitrary<Revision> = fc.record(
  {
    stack,
    kind: fc.constantFrom('apply', 'scale', 'undo', 'restart'),
    differences: texts,
    restores: uint32,
  },
  { requiredKeys: ['stack', 'kind', 'differences'] },
);

export const pins: fc.Arbitrary<readonly Pin[]> = fc.array(
  fc.record({ slot: uint32, nodeId: named, kept: fc.constant(true as const) }, { requiredKeys: ['slot', 'nodeId'] }),
  { maxLength: 2 },
);

export const service: fc.Arbitrary<Service> = fc.record(
  {
    stack: named,
    name: named,
    vip: named,
    ports,
    released: fc.boolean(),
    pins,
    rollout,
    previous: template,
  },
  { requiredKeys: ['stack', 'name', 'vip', 'ports', 'released', 'pins'] },
);

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
    restartedAtMs: fc.array(int64, { maxLength: 3 }),
    rollout: uint32,
    unhealthyAtMs: int64,
    fence: fc.nat(),
    byNode: fc.boolean(),
  },
  {
    requiredKeys: [
      ...(['id', 'stack', 'service', 'slot', 'template', 'templateHash', 'desired'] as const),
      ...(['attempt', 'quickFailures', 'restarts', 'createdAtMs', 'restartedAtMs'] as const),
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
    ranAtMs: int64,
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
  labels: map,
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

const contentKind = fc.constantFrom('config', 'secret');
export const content: fc.Arbitrary<Content> = fc.record({ kind: contentKind, name: text, bytes });
export const contentRecord: fc.Arbitrary<ContentRecord> = fc.record({
  id: named,
  kind: contentKind,
  writtenAtMs: int64,
  value: bytes,
});
export const registryRecord: fc.Arbitrary<RegistryRecord> = fc.record({
  host: named,
  username: text,
  sealedPassword: bytes,
  writtenAtMs: int64,
});
export const fetchedContent: fc.Arbitrary<FetchedContent> = fc.record({ id: named, bytes });

export const joinToken: fc.Arbitrary<JoinTokenRecord> = fc.record({ id: named, secretHash: bytes, expiresAtMs: int64 });

export const cluster: fc.Arbitrary<ClusterRecord> = fc.record({
  id: named,
  secret: bytes,
  containerPool: named,
  vipPool: named,
  epoch: uint32,
  caCertificate: text,
});

const assignedTask = fc.record(
  {
    id: named,
    stack: named,
    service: named,
    slot: uint32,
    desired: fc.constantFrom('running', 'draining', 'shutdown'),
    template,
    fence: fc.nat(),
  },
  { requiredKeys: ['id', 'stack', 'service', 'slot', 'desired', 'template'] },
);

const endpoint = fc.record({ taskId: named, nodeId: named, address: named, slot: uint32 });

export const unit: fc.Arbitrary<Unit> = fc.oneof(
  fc.record({ kind: fc.constant('tasks' as const), tasks: fc.array(assignedTask, { maxLength: 2 }) }),
  fc.record({
    kind: fc.constant('service' as const),
    stack: named,
    name: named,
    vip: named,
    ports,
    endpoints: fc.array(endpoint, { maxLength: 3 }),
    members: fc.array(endpoint, { maxLength: 3 }),
    networks,
  }),
  fc.record({
    kind: fc.constant('network' as const),
    containerPool: named,
    vipPool: named,
    peers: fc.array(fc.record({ nodeId: named, name: named, address: named, subnet: named }), { maxLength: 3 }),
    internal: texts,
  }),
  fc.record({
    kind: fc.constant('images' as const),
    images: fc.array(fc.record({ reference: named, digest: text }), { maxLength: 3 }),
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
  mode: fc.constantFrom('replicated', 'global'),
  image: text,
  replicas: fc.record({ desired: uint32, running: uint32 }),
  ports,
  rollout: orNull(
    fc.record({
      state: rolloutState,
      version: uint32,
      updated: uint32,
      failed: uint32,
      startedAt: iso,
      endedAt: orNull(iso),
      reason: orNull(text),
    }),
  ),
});

export const stuck: fc.Arbitrary<Stuck> = fc.record({
  service: named,
  slot: orNull(uint32),
  node: orNull(text),
  reason: text,
});

export const failedAttempt: fc.Arbitrary<FailedAttempt> = fc.record({
  service: named,
  slot: uint32,
  taskId: named,
  node: orNull(text),
  started: fc.boolean(),
  reason: text,
});

export const revisionView: fc.Arbitrary<RevisionView> = fc.record(
  {
    version: uint32,
    current: fc.boolean(),
    kind: fc.constantFrom('apply', 'scale', 'undo', 'restart'),
    by: text,
    at: iso,
    restores: orNull(uint32),
    differences: texts,
    services: fc.array(
      fc.record({
        name: named,
        mode: fc.constantFrom('replicated' as const, 'global' as const),
        image: text,
        digest: text,
        replicas: orNull(uint32),
      }),
      { maxLength: 2 },
    ),
  },
  { requiredKeys: ['version', 'current', 'kind', 'by', 'at', 'restores', 'differences'] },
);

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
  labels: map,
  notes: fc.array(text, { maxLength: 2 }),
});

const heldUnit = fc.record({ key: text, revision: text });
const appliedUnit = fc.record({ key: text, revision: text, number: fc.nat() });
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
    local: fc.record({
      replaces: fc.array(text, { maxLength: 3 }),
      createdAgoMs: int64,
      attempt: uint32,
      quickFailures: uint32,
      restarts: uint32,
      restartedAgoMs: fc.array(int64, { maxLength: 3 }),
    }),
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
  fc.record({ kind: fc.constant('applied' as const), units: fc.array(appliedUnit) }),
  fc.record({ kind: fc.constant('pong' as const), number: fc.nat() }),
  fc.record({ kind: fc.constant('lease-request' as const), number: fc.nat() }),
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
  fc.record({ kind: fc.constant('ack' as const), sequence: fc.nat(), unwanted: fc.array(text, { maxLength: 2 }) }),
  fc.record({ kind: fc.constant('synced' as const) }),
  fc.record({
    kind: fc.constant('liveness' as const),
    heartbeatIntervalMs: uint32,
    peers: fc.array(fc.record({ nodeId: named, address: text, livenessPort: uint32, key: bytes }), { maxLength: 3 }),
  }),
  fc.record({ kind: fc.constant('ping' as const), number: fc.nat() }),
  fc.record({ kind: fc.constant('lease' as const), number: fc.nat(), taskIds: fc.array(named, { maxLength: 3 }) }),
);

const recoveryMoments = fc.record(
  {
    suspected: uint32,
    confirmed: uint32,
    planned: uint32,
    committed: uint32,
    received: uint32,
    created: uint32,
    running: uint32,
    inForce: uint32,
  },
  { requiredKeys: ['confirmed', 'planned', 'committed', 'received', 'created', 'running', 'inForce'] },
);

export const clusterEvent: fc.Arbitrary<ClusterEvent> = fc.record(
  {
    sequence: fc.nat(),
    revision: fc.nat(),
    atMs: fc.nat(),
    kind: named,
    stack: text,
    service: text,
    slot: uint32,
    taskId: text,
    node: text,
    by: text,
    message: text,
    cause: text,
    recovery: recoveryMoments,
  },
  { requiredKeys: ['sequence', 'revision', 'atMs', 'kind', 'message'] },
);
