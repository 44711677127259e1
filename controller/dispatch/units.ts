/** PURE: what each node must have, in complete units, from one snapshot. */
import type {
  AssignedTask,
  Endpoint,
  NetworkUnit,
  RestartRule,
  ServiceUnit,
  TasksUnit,
  Unit,
} from '../../proto/domain/assignment.ts';
import { serviceUnitKey } from '../../proto/domain/assignment.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { ResolvedImage, RestartPolicy } from '../../proto/domain/service.ts';
import type { NetworkAttachment } from '../../proto/domain/stack-parts.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Task, TaskState, TaskStatus } from '../../proto/domain/task.ts';
import type { Snapshot } from '../plan/snapshot.ts';

/** A task that ran and is to stop: names, VIPs and ports may still lead to it somewhere. */
export interface LeavingTask {
  readonly id: string;
  /** `stack/service`. */
  readonly serviceId: string;
  /** Of its service's unit. */
  readonly unitKey: string;
}

/** All units of a snapshot: computed once a change, handed to every session. */
export interface UnitSet {
  readonly network: NetworkUnit;
  /** By `stack/service`. */
  readonly services: ReadonlyMap<string, ServiceUnit>;
  /** By network, in the same order: those whose tasks are on it. */
  readonly servicesOfNetworks: ReadonlyMap<string, readonly ServiceUnit[]>;
  /** Its place among all services: units are always sent in one order. */
  readonly places: ReadonlyMap<ServiceUnit, number>;
  /** Those with published ports, which every node serves. */
  readonly published: readonly ServiceUnit[];
  /** By node id; a node without tasks has no entry. */
  readonly tasks: ReadonlyMap<string, TasksUnit>;
  /** By node id: the networks its tasks are on. */
  readonly nodeNetworks: ReadonlyMap<string, ReadonlySet<string>>;
  /** By node id: what it is to have ahead of need. */
  readonly spareImages: ReadonlyMap<string, readonly ResolvedImage[]>;
  /** By node id. */
  readonly leaving: ReadonlyMap<string, readonly LeavingTask[]>;
  /** Ids of the nodes that have said where they are. */
  readonly nodes: readonly string[];
}

export function unitsOf(
  snapshot: Snapshot,
  spareImages: ReadonlyMap<string, readonly ResolvedImage[]> = new Map(),
): UnitSet {
  const tasks = new Map<string, AssignedTask[]>();
  const nodeNetworks = new Map<string, Set<string>>();
  const endpoints = new Map<string, Endpoint[]>();
  const members = new Map<string, Endpoint[]>();
  const leaving = new Map<string, LeavingTask[]>();
  const networks = declaredNetworks(snapshot);
  const policies = restartPolicies(snapshot);
  for (const { value: task } of snapshot.tasks.values()) {
    if (task.nodeId === undefined) continue;
    const status = snapshot.statuses.get(task.id);
    const assigned = assignedTask(task, status, policies.get(serviceId(task.stack, task.service)));
    if (assigned !== undefined) {
      append(tasks, task.nodeId, assigned);
      const known = nodeNetworks.get(task.nodeId) ?? new Set();
      for (const { network } of task.template.networks) known.add(network);
      nodeNetworks.set(task.nodeId, known);
    }
    const id = serviceId(task.stack, task.service);
    if (assigned?.desired === 'shutdown' && hasServed(task, status)) {
      append(leaving, task.nodeId, { id: task.id, serviceId: id, unitKey: serviceUnitKey(task.stack, task.service) });
    }
    const member = memberOf(task, status);
    if (member === undefined) continue;
    append(members, id, member);
    if (serves(task, status)) append(endpoints, id, member);
    // A service that is going keeps its networks until its last task has ended.
    if (!networks.has(id)) networks.set(id, task.template.networks);
  }
  const services = new Map(
    [...snapshot.services].map(([id, { value }]): [string, ServiceUnit] => {
      const { stack, name, vip, ports } = value;
      const lists = { endpoints: byTask(endpoints.get(id)), members: byTask(members.get(id)) };
      return [id, { kind: 'service', stack, name, vip, ports, networks: networks.get(id) ?? [], ...lists }];
    }),
  );
  return {
    network: networkUnit(snapshot),
    services,
    servicesOfNetworks: servicesOfNetworks(services.values()),
    places: new Map([...services.values()].map((service, place) => [service, place])),
    published: [...services.values()].filter(({ ports }) => ports.length > 0),
    tasks: new Map([...tasks].map(([nodeId, list]) => [nodeId, { kind: 'tasks', tasks: sortById(list) }])),
    nodeNetworks,
    spareImages,
    leaving,
    nodes: [...snapshot.facts.keys()].filter((nodeId) => snapshot.nodes.has(nodeId)),
  };
}

/**
 * A node serves every published port, and the names and VIPs of every service that shares a network with one of its
 * tasks, whatever the stack.
 */
export function needsService(units: UnitSet, nodeId: string, service: ServiceUnit): boolean {
  const own = units.nodeNetworks.get(nodeId);
  return service.ports.length > 0 || service.networks.some(({ network }) => own?.has(network) === true);
}

function servicesOfNetworks(services: Iterable<ServiceUnit>): ReadonlyMap<string, readonly ServiceUnit[]> {
  const byNetwork = new Map<string, ServiceUnit[]>();
  for (const service of services) for (const { network } of service.networks) append(byNetwork, network, service);
  return byNetwork;
}

/** Those for which `needsService` holds, each once, found without a look at every service: thousands of nodes ask. */
function servicesOfNode(units: UnitSet, nodeId: string): readonly ServiceUnit[] {
  const found = new Set(units.published);
  for (const network of units.nodeNetworks.get(nodeId) ?? []) {
    for (const service of units.servicesOfNetworks.get(network) ?? []) found.add(service);
  }
  return [...found].sort((a, b) => (units.places.get(a) ?? 0) - (units.places.get(b) ?? 0));
}

/** Order matters: tasks start last, and before any image that no task waits for. */
export function unitsOfNode(units: UnitSet, nodeId: string): readonly Unit[] {
  const images = units.spareImages.get(nodeId);
  return [
    units.network,
    ...servicesOfNode(units, nodeId),
    units.tasks.get(nodeId) ?? { kind: 'tasks', tasks: [] },
    ...(images === undefined ? [] : [{ kind: 'images' as const, images }]),
  ];
}

/** What one node is to have now: as in its unit of tasks, which it may not have been sent yet. */
export function assignedTasksOf(snapshot: Snapshot, nodeId: string): readonly AssignedTask[] {
  return [...snapshot.tasks.values()].flatMap(({ value: task }) => {
    if (task.nodeId !== nodeId) return [];
    return assignedTask(task, snapshot.statuses.get(task.id)) ?? [];
  });
}

/** A node keeps a task until it has ended there; one whose node was given up is no longer the node's to have. */
export function assignedTask(
  task: Task,
  status: TaskStatus | undefined,
  policy?: RestartPolicy,
): AssignedTask | undefined {
  if (task.orphaned === true || task.desired === 'remove') return undefined;
  if (status !== undefined && isEnded(status.state)) return undefined;
  const { id, stack, service, slot, template, desired, fence } = task;
  return {
    ...{ id, stack, service, slot, template, desired },
    ...(fence === undefined ? {} : { fence }),
    ...(policy === undefined ? {} : { restart: restartRule(task, policy) }),
  };
}

function restartRule(task: Task, policy: RestartPolicy): RestartRule {
  const { attempt, quickFailures, restarts, restartedAtMs, createdAtMs } = task;
  const restartedBeforeMs = restartedAtMs.map((atMs) => Math.max(0, createdAtMs - atMs));
  return { policy, attempt, quickFailures, restarts, restartedBeforeMs };
}

/** By `stack/service`: as declared. */
export function restartPolicies(snapshot: Snapshot): ReadonlyMap<string, RestartPolicy> {
  const policies = new Map<string, RestartPolicy>();
  for (const { value } of snapshot.stacks.values()) {
    for (const { name, restart } of value.spec.services) policies.set(serviceId(value.spec.name, name), restart);
  }
  return policies;
}

/**
 * It has an address on its node, and may still use it. Not before its process runs: every node takes a change of members into its rules,
 * and that must not stand beside the start. A sender that is not known yet is let in, and nobody is led to it before.
 */
function memberOf(task: Task, status: TaskStatus | undefined): Endpoint | undefined {
  if (task.nodeId === undefined || status?.address === undefined || !hasProcess(taskState(task, status), status))
    return undefined;
  return { taskId: task.id, nodeId: task.nodeId, address: status.address, slot: task.slot };
}

/** Without a health check `starting` lasts only until the process runs, which is told next. */
const hasProcess = (state: TaskState, { health }: TaskStatus): boolean =>
  state === 'running' || (state === 'starting' && health !== 'none');

/** Traffic goes to tasks that run, are wanted and are not unwell. */
function serves(task: Task, status: TaskStatus | undefined): boolean {
  if (task.desired !== 'running' || taskState(task, status) !== 'running') return false;
  return status?.health === 'none' || status?.health === 'healthy';
}

/** Something led to it once. What never came to run has nothing to leave. */
const hasServed = (task: Task, status: TaskStatus | undefined): boolean => taskState(task, status) === 'running';

const byTask = (endpoints: readonly Endpoint[] = []): readonly Endpoint[] =>
  [...endpoints].sort((a, b) => (a.taskId < b.taskId ? -1 : 1));

/** By `stack/service`. */
function declaredNetworks(snapshot: Snapshot): Map<string, readonly NetworkAttachment[]> {
  const networks = new Map<string, readonly NetworkAttachment[]>();
  for (const { value } of snapshot.stacks.values()) {
    const { name, services } = value.spec;
    for (const service of services) networks.set(serviceId(name, service.name), service.template.networks);
  }
  return networks;
}

function networkUnit(snapshot: Snapshot): NetworkUnit {
  const peers = [...snapshot.nodes.values()].flatMap(({ value: node }) => {
    const facts = snapshot.facts.get(node.id);
    if (facts === undefined) return [];
    return [{ nodeId: node.id, name: node.name, address: facts.address, subnet: node.subnet }];
  });
  peers.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  const internal = [...snapshot.stacks.values()].flatMap(({ value }) =>
    value.spec.networks.filter((network) => network.internal).map((network) => network.name),
  );
  const { containerPool, vipPool } = snapshot;
  return { kind: 'network', containerPool, vipPool, peers, internal: internal.sort() };
}

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

const sortById = (tasks: readonly AssignedTask[]): readonly AssignedTask[] =>
  [...tasks].sort((a, b) => (a.id < b.id ? -1 : 1));
