/** What must hold once nothing fails any more and time has passed: what runs is what was declared, as far as it fits. */
import type { Snapshot } from '../../controller/plan/snapshot.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { ServiceSpec } from '../../proto/domain/service.ts';
import { isEnded, slotName, taskState } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import { canonicalJson } from '../../controller/plan/canonical-json.ts';
import type { Machine } from './machine.ts';
import type { Property } from './properties.ts';

export interface Calm {
  readonly stored: Snapshot;
  readonly machines: readonly Machine[];
}

const stateOf = ({ stored }: Calm, task: Task) => taskState(task, stored.statuses.get(task.id));

export const declaredRuns: Property<Calm> = {
  name: 'declared-runs',
  why: 'what was accepted is what runs in the end, wherever it fits: that is what an orchestrator is for',
  check: (calm) => {
    for (const [stack, { value }] of calm.stored.stacks) {
      for (const service of value.spec.services) {
        const slots = Array.from({ length: service.replicas }, (_, index) => slotOf(calm, stack, service, index + 1));
        const wrong = slots.findIndex(({ kind }) => kind === 'wrong');
        // An update waits for slots that can't run, so what ran before it goes on.
        const rollout = calm.stored.services.get(serviceId(stack, service.name))?.value.rollout?.state ?? 'completed';
        if (rollout === 'updating' && slots.every(({ kind }) => kind === 'runs'))
          return `${stack}/${service.name} updates for ever`;
        // One that has failed stays where it is until somebody declares something.
        const failed = rollout !== 'updating' && rollout !== 'completed';
        const held = failed || slots.some(({ kind }) => kind === 'waits for room' || kind === 'stays failed');
        const old = held ? -1 : slots.findIndex(({ kind }) => kind === 'old');
        const index = wrong === -1 ? old : wrong;
        if (index !== -1) return `${stack}/${slotName(service.name, index + 1)} ${String(slots[index]?.what)}`;
      }
    }
    return undefined;
  },
};

interface Slot {
  readonly kind: 'runs' | 'stays complete' | 'stays failed' | 'waits for room' | 'old' | 'wrong';
  readonly what: string;
}

function slotOf(calm: Calm, stack: string, service: ServiceSpec, slot: number): Slot {
  const wrong = (what: string): Slot => ({ kind: 'wrong', what });
  const tasks = [...calm.stored.tasks.values()]
    .map(({ value }) => value)
    .filter((task) => task.stack === stack && task.service === service.name && task.slot === slot)
    .sort((a, b) => a.attempt - b.attempt);
  const live = tasks.filter((task) => !isEnded(stateOf(calm, task)));
  // A replacement that was given up again is newer than what stayed.
  const latest = live.at(-1) ?? tasks.at(-1);
  if (latest === undefined) return wrong('was never given a task');
  if (live.length > 1) return wrong(`has ${live.map(({ id }) => id).join(' and ')} at a time`);
  const state = stateOf(calm, latest);
  const what = `has ${latest.id}, which is ${state} and wanted ${latest.desired}`;
  if (latest.nodeId === undefined) {
    const node = nodeWithRoom(calm, latest);
    return node === undefined
      ? { kind: 'waits for room', what }
      : wrong(`waits as ${latest.id}, though ${node} has room`);
  }
  if (latest.desired === 'running' && state === 'running') {
    const current = canonicalJson(latest.template) === canonicalJson(service.template);
    return { kind: current ? 'runs' : 'old', what: current ? what : `still runs ${latest.id} of an older template` };
  }
  if (!isEnded(state) || !mayStayEnded(service, latest, state)) return wrong(what);
  return { kind: state === 'complete' ? 'stays complete' : 'stays failed', what };
}

/** What the policy allows, told once more in other words than the plan's. */
function mayStayEnded({ restart }: ServiceSpec, task: Task, state: string): boolean {
  if (restart.condition === 'none') return true;
  if (restart.condition === 'on-failure' && state === 'complete') return true;
  return restart.maxAttempts !== undefined && task.restarts >= restart.maxAttempts;
}

/** Nothing may wait for a node while there is one: the name of one. */
function nodeWithRoom(calm: Calm, waiting: Task): string | undefined {
  for (const { value: node } of calm.stored.nodes.values()) {
    const capacity = calm.stored.facts.get(node.id)?.capacity;
    if (capacity === undefined || node.availability !== 'active') continue;
    let { cpuMillis, memoryBytes } = capacity;
    for (const { value: task } of calm.stored.tasks.values()) {
      if (task.nodeId !== node.id || isEnded(stateOf(calm, task))) continue;
      cpuMillis -= task.template.reservations.cpuMillis;
      memoryBytes -= task.template.reservations.memoryBytes;
    }
    const { reservations } = waiting.template;
    if (reservations.cpuMillis <= cpuMillis && reservations.memoryBytes <= memoryBytes) {
      return node.name;
    }
  }
  return undefined;
}

export const undeclaredGoes: Property<Calm> = {
  name: 'undeclared-goes',
  why: 'what nobody declares any more must end, or it holds its node and its address for ever',
  check: (calm) => {
    const declared = new Map(
      [...calm.stored.stacks].flatMap(([stack, { value }]) =>
        value.spec.services.map((service) => [serviceId(stack, service.name), service.replicas] as const),
      ),
    );
    for (const { value: task } of calm.stored.tasks.values()) {
      const replicas = declared.get(serviceId(task.stack, task.service)) ?? 0;
      if (task.slot > replicas)
        return `${task.id} of ${task.stack}/${slotName(task.service, task.slot)} is still there`;
    }
    const service = [...calm.stored.services.keys()].find((id) => !declared.has(id));
    return service === undefined ? undefined : `the record of ${service} is still there`;
  },
};

export const nodesRunWhatIsStored: Property<Calm> = {
  name: 'nodes-run-what-is-stored',
  why: 'the store says what runs; a node that runs something else, or keeps what nobody needs, makes that a lie',
  check: (calm) => {
    for (const machine of calm.machines) {
      const stored = [...calm.stored.tasks.values()].flatMap(({ value: task }) =>
        task.nodeId === machine.nodeId && stateOf(calm, task) === 'running' ? [task.id] : [],
      );
      const running = [...machine.containers.values()].filter(({ state }) => state.kind === 'running');
      const wrong =
        difference(
          'runs',
          stored,
          running.map(({ id }) => id),
        ) ??
        difference('has containers', stored, [...machine.containers.keys()]) ??
        difference('has addresses', stored, [...machine.attachments.keys()]) ??
        difference('has files', stored, [...machine.files]) ??
        difference('has recorded', stored, machine.disk.keys('tasks'));
      if (wrong !== undefined) return `${machine.name} ${wrong}`;
    }
    return undefined;
  },
};

function difference(what: string, expected: readonly string[], found: readonly string[]): string | undefined {
  const [a, b] = [[...expected].sort(), [...found].sort()];
  if (a.join() === b.join()) return undefined;
  return `${what} ${b.join(' ')}; it should be ${a.join(' ')}`;
}

export const trafficGoesWhereItRuns: Property<Calm> = {
  name: 'traffic-goes-where-it-runs',
  why: 'an endpoint that is gone loses requests, one that is missing gets none',
  check: (calm) => {
    const endpoints = new Map<string, string[]>();
    for (const { value: task } of calm.stored.tasks.values()) {
      const machine = calm.machines.find(({ nodeId }) => nodeId === task.nodeId);
      const address = machine?.attachments.get(task.id)?.address;
      if (address === undefined || stateOf(calm, task) !== 'running') continue;
      const id = serviceId(task.stack, task.service);
      endpoints.set(id, [...(endpoints.get(id) ?? []), `${task.id}@${address}`]);
    }
    for (const machine of calm.machines) {
      for (const unit of machine.appliedNetwork?.services ?? []) {
        const id = serviceId(unit.stack, unit.name);
        const given = unit.endpoints.map(({ taskId, address }) => `${taskId}@${address}`);
        const wrong = difference(`sends traffic of ${id} to`, endpoints.get(id) ?? [], given);
        if (wrong !== undefined) return `${machine.name} ${wrong}`;
      }
      for (const [id, { value }] of calm.stored.services) {
        const has = machine.appliedNetwork?.services.some((unit) => serviceId(unit.stack, unit.name) === id);
        if (value.ports.length > 0 && has !== true) return `${machine.name} does not publish the ports of ${id}`;
      }
    }
    return undefined;
  },
};

export const calmProperties: readonly Property<Calm>[] = [
  undeclaredGoes,
  declaredRuns,
  nodesRunWhatIsStored,
  trafficGoesWhereItRuns,
];
