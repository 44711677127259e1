/** PURE: what each node must have, in complete units, from one snapshot. */
import type {
  AssignedTask,
  Endpoint,
  NetworkUnit,
  ServiceUnit,
  TasksUnit,
  Unit,
} from '../../proto/domain/assignment.ts';
import { serviceId } from '../../proto/domain/service.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Task, TaskStatus } from '../../proto/domain/task.ts';
import type { Snapshot } from '../plan/snapshot.ts';

/** All units of a snapshot: computed once a change, handed to every session. */
export interface UnitSet {
  readonly network: NetworkUnit;
  /** By `stack/service`. */
  readonly services: ReadonlyMap<string, ServiceUnit>;
  /** By node id; a node without tasks has no entry. */
  readonly tasks: ReadonlyMap<string, TasksUnit>;
  /** By node id: the stacks whose tasks it has. */
  readonly stacks: ReadonlyMap<string, ReadonlySet<string>>;
}

export function unitsOf(snapshot: Snapshot): UnitSet {
  const tasks = new Map<string, AssignedTask[]>();
  const stacks = new Map<string, Set<string>>();
  const endpoints = new Map<string, Endpoint[]>();
  for (const { value: task } of snapshot.tasks.values()) {
    if (task.nodeId === undefined) continue;
    const status = snapshot.statuses.get(task.id);
    const assigned = assignedTask(task, status);
    if (assigned !== undefined) {
      append(tasks, task.nodeId, assigned);
      const known = stacks.get(task.nodeId);
      if (known === undefined) stacks.set(task.nodeId, new Set([task.stack]));
      else known.add(task.stack);
    }
    const endpoint = endpointOf(task, status);
    if (endpoint !== undefined) append(endpoints, serviceId(task.stack, task.service), endpoint);
  }
  return {
    network: networkUnit(snapshot),
    services: new Map(
      [...snapshot.services].map(([id, { value }]) => [id, serviceUnit(value, endpoints.get(id) ?? [])]),
    ),
    tasks: new Map([...tasks].map(([nodeId, list]) => [nodeId, { kind: 'tasks', tasks: sortById(list) }])),
    stacks,
  };
}

/** A node serves every published port, and the VIPs of the stacks it has tasks of. Order matters: tasks start last. */
export function unitsOfNode(units: UnitSet, nodeId: string): readonly Unit[] {
  const stacks = units.stacks.get(nodeId);
  const services = [...units.services.values()].filter(
    (service) => service.ports.length > 0 || stacks?.has(service.stack) === true,
  );
  return [units.network, ...services, units.tasks.get(nodeId) ?? { kind: 'tasks', tasks: [] }];
}

/** A node keeps a task until it has ended there; one whose node was given up is no longer the node's to have. */
function assignedTask(task: Task, status: TaskStatus | undefined): AssignedTask | undefined {
  if (task.orphaned === true || task.desired === 'remove') return undefined;
  if (status !== undefined && isEnded(status.state)) return undefined;
  const { id, stack, service, slot, template, desired } = task;
  return { id, stack, service, slot, template, desired };
}

/** Traffic goes to tasks that run, are wanted and are not unwell. */
function endpointOf(task: Task, status: TaskStatus | undefined): Endpoint | undefined {
  if (task.nodeId === undefined || task.desired !== 'running' || status?.address === undefined) return undefined;
  if (taskState(task, status) !== 'running') return undefined;
  if (status.health !== 'none' && status.health !== 'healthy') return undefined;
  return { taskId: task.id, nodeId: task.nodeId, address: status.address };
}

function serviceUnit(
  service: { stack: string; name: string; vip: string; ports: ServiceUnit['ports'] },
  endpoints: readonly Endpoint[],
): ServiceUnit {
  const sorted = [...endpoints].sort((a, b) => (a.taskId < b.taskId ? -1 : 1));
  return {
    kind: 'service',
    stack: service.stack,
    name: service.name,
    vip: service.vip,
    ports: service.ports,
    endpoints: sorted,
  };
}

function networkUnit(snapshot: Snapshot): NetworkUnit {
  const peers = [...snapshot.nodes.values()].flatMap(({ value: node }) => {
    const facts = snapshot.facts.get(node.id);
    if (facts === undefined) return [];
    return [{ nodeId: node.id, name: node.name, address: facts.address, subnet: node.subnet }];
  });
  peers.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  return { kind: 'network', containerPool: snapshot.containerPool, vipPool: snapshot.vipPool, peers };
}

function append<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

const sortById = (tasks: readonly AssignedTask[]): readonly AssignedTask[] =>
  [...tasks].sort((a, b) => (a.id < b.id ? -1 : 1));
