/** What must hold once nothing fails any more and time has passed: what runs is what was declared, as far as it fits. */
import type { Snapshot } from '../../controller/plan/snapshot.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { ServiceSpec } from '../../proto/domain/service.ts';
import { isEnded, slotName, taskState } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import { canonicalJson } from '../../controller/plan/canonical-json.ts';
import type { Machine } from './machine.ts';
import { mayStartFirst } from './properties.ts';
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
        const slots = slotsOf(calm, stack, service);
        const wrong = slots.find(({ kind }) => kind === 'wrong');
        if (wrong !== undefined) return `${stack}/${service.name}${wrong.where} ${wrong.what}`;
        const rollout = calm.stored.services.get(serviceId(stack, service.name))?.value.rollout?.state ?? 'completed';
        // One that has failed stays where it is until somebody declares something, and one without room where it was.
        if (rollout !== 'updating' && rollout !== 'completed' && rollout !== 'rolling-back') continue;
        if (slots.some(({ kind }) => kind === 'waits for room' || kind === 'stays failed')) continue;
        if (rollout !== 'completed') return `${stack}/${service.name} is ${rollout} for ever`;
        const old = slots.find(({ kind }) => kind === 'old');
        if (old !== undefined) return `${stack}/${service.name}${old.where} ${old.what}`;
      }
    }
    return undefined;
  },
};

interface Slot {
  /** `.2`, or ` on n1` of a global service. */
  readonly where: string;
  readonly kind: 'runs' | 'waits for others' | 'stays complete' | 'stays failed' | 'waits for room' | 'old' | 'wrong';
  readonly what: string;
}

/** Of a global service the nodes that match stand for slots. */
function slotsOf(calm: Calm, stack: string, service: ServiceSpec): readonly Slot[] {
  const ofService = [...calm.stored.tasks.values()]
    .map(({ value }) => value)
    .filter((task) => task.stack === stack && task.service === service.name)
    .sort((a, b) => a.attempt - b.attempt);
  if (service.mode === 'replicated') {
    return Array.from({ length: service.replicas }, (_, index) => {
      const slot = index + 1;
      const tasks = ofService.filter((task) => task.slot === slot);
      return { ...slotOf(calm, stack, service, tasks), where: `.${String(slot)}` };
    });
  }
  return calm.machines
    .filter((machine) => matches(machine, service))
    .map((machine) => {
      const tasks = ofService.filter(({ slot }) => slot === machine.globalSlot);
      return { ...slotOf(calm, stack, service, tasks, machine), where: ` on ${machine.name}` };
    });
}

/** Oldest first. `only`: the one machine it is for. */
function slotOf(
  calm: Calm,
  stack: string,
  service: ServiceSpec,
  tasks: readonly Task[],
  only?: Machine,
): Omit<Slot, 'where'> {
  const wrong = (what: string): Omit<Slot, 'where'> => ({ kind: 'wrong', what });
  const live = tasks.filter((task) => !isEnded(stateOf(calm, task)));
  // A replacement that was given up again is newer than what stayed.
  const latest = live.at(-1) ?? tasks.at(-1);
  if (latest === undefined) return wrong('was never given a task');
  const [old, next, ...more] = live;
  // What starts first goes on where both fit; else the old one stays.
  if (old !== undefined && next !== undefined && more.length === 0 && next.nodeId === undefined) {
    if (mayStartFirst(service) || !isAllowed(calm, service, old)) return waits(calm, stack, service, next, only);
  }
  if (live.length > 1) return wrong(`has ${live.map(({ id }) => id).join(' and ')} at a time`);
  const state = stateOf(calm, latest);
  const what = `has ${latest.id}, which is ${state} and wanted ${latest.desired}`;
  if (latest.nodeId === undefined) return waits(calm, stack, service, latest, only);
  const health = calm.stored.statuses.get(latest.id)?.health;
  if (latest.desired === 'running' && state === 'running') {
    // By its policy it may be left as it is, unwell.
    if (health === 'unhealthy' && service.restart.condition === 'any' && service.restart.maxAttempts === undefined) {
      return wrong(`has ${latest.id}, which is unhealthy and stays so`);
    }
    const isCurrent = canonicalJson(latest.template) === canonicalJson(service.template);
    // An update that waits for room leaves the others where the version before had them.
    if (!isCurrent) return { kind: 'old', what: `still runs ${latest.id} of an older template` };
    if (!isAllowed(calm, service, latest)) return wrong(`has ${latest.id} on a node that its constraints do not allow`);
    return { kind: 'runs', what };
  }
  if (!isEnded(state) || !mayStayEnded(service, latest, state)) return wrong(what);
  return { kind: state === 'complete' ? 'stays complete' : 'stays failed', what };
}

function waits(calm: Calm, stack: string, service: ServiceSpec, task: Task, only?: Machine): Omit<Slot, 'where'> {
  const what = `waits as ${task.id}`;
  const record = calm.stored.services.get(serviceId(stack, service.name))?.value;
  if (record?.released === false && service.dependsOn.length > 0) return { kind: 'waits for others', what };
  const pinned = record?.pins.find(({ slot }) => slot === task.slot)?.nodeId;
  const node = calm.machines.find(
    (machine) =>
      (only === undefined || only === machine) &&
      (pinned === undefined || pinned === machine.nodeId) &&
      matches(machine, service) &&
      hasRoom(calm, machine, service, task),
  );
  return node === undefined
    ? { kind: 'waits for room', what }
    : { kind: 'wrong', what: `${what}, though ${node.name} has room for it` };
}

function isAllowed({ machines }: Calm, service: ServiceSpec, { nodeId }: Task): boolean {
  const machine = machines.find((one) => one.nodeId === nodeId);
  return machine !== undefined && matches(machine, service);
}

function matches({ zone }: Machine, { placement }: ServiceSpec): boolean {
  return placement.constraints.every(({ operator, value }) => (zone === value) === (operator === '=='));
}

/** What the policy allows, told once more in other words than the plan's. */
function mayStayEnded({ restart }: ServiceSpec, task: Task, state: string): boolean {
  if (restart.condition === 'none') return true;
  if (restart.condition === 'on-failure' && state === 'complete') return true;
  return restart.maxAttempts !== undefined && task.restarts >= restart.maxAttempts;
}

function hasRoom(calm: Calm, { nodeId, capacity }: Machine, { placement }: ServiceSpec, waiting: Task): boolean {
  let { cpuMillis, memoryBytes } = capacity;
  let ofService = 0;
  for (const { value: task } of calm.stored.tasks.values()) {
    if (task.nodeId !== nodeId || isEnded(stateOf(calm, task))) continue;
    cpuMillis -= task.template.reservations.cpuMillis;
    memoryBytes -= task.template.reservations.memoryBytes;
    if (task.stack === waiting.stack && task.service === waiting.service) ofService += 1;
  }
  const { reservations } = waiting.template;
  if (ofService >= (placement.maxReplicasPerNode ?? Infinity)) return false;
  return reservations.cpuMillis <= cpuMillis && reservations.memoryBytes <= memoryBytes;
}

export const undeclaredGoes: Property<Calm> = {
  name: 'undeclared-goes',
  why: 'what nobody declares any more must end, or it holds its node and its address for ever',
  check: (calm) => {
    const declared = new Map(
      [...calm.stored.stacks].flatMap(([stack, { value }]) =>
        value.spec.services.map((service) => [serviceId(stack, service.name), service] as const),
      ),
    );
    for (const { value: task } of calm.stored.tasks.values()) {
      const service = declared.get(serviceId(task.stack, task.service));
      // Slots of a global service stand for nodes: what is on them is looked at there.
      if (service !== undefined && (service.mode === 'global' || task.slot <= service.replicas)) continue;
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
