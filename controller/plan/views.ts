/** A snapshot as people see it: the rows of `frota ps`, `frota ls` and `frota node ls`. */
import { noResources } from '../../proto/domain/resources.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Task, TaskState, TaskStatus } from '../../proto/domain/task.ts';
import type { Rollout } from '../../proto/domain/update.ts';
import type { NodeView, RolloutView, ServiceView, TaskView } from '../../proto/domain/views.ts';
import type { Snapshot } from './snapshot.ts';
import { wantedSlotsOf } from './wanted-slots.ts';

export interface TaskFilter {
  readonly stack?: string;
  readonly service?: string;
  /** History too; else only tasks wanted or still running. */
  readonly all?: boolean;
}

export interface ViewInput {
  readonly snapshot: Snapshot;
  /** By node id. */
  readonly liveness: ReadonlyMap<string, NodeLiveness>;
  /** `Plan.reasons` of the last pass. */
  readonly reasons: ReadonlyMap<string, string>;
  /** Wall time in ms → ISO 8601; passed in because pure rooms use no `Date`. */
  readonly isoTime: (wallMs: number) => string;
}

/** Sorted by stack, service, slot, then the newest attempt first. */
export function taskViews(input: ViewInput, filter: TaskFilter = {}): readonly TaskView[] {
  const { tasks, statuses } = input.snapshot;
  return [...tasks.values()]
    .map(({ value }) => value)
    .filter((task) => matches(task, statuses.get(task.id), filter))
    .sort(bySlot)
    .map((task) => taskView(input, task));
}

/** Sorted by stack and name. Services that are going but still have tasks are shown with 0 desired. */
export function serviceViews(
  { snapshot, liveness, isoTime }: Omit<ViewInput, 'reasons'>,
  stack?: string,
): readonly ServiceView[] {
  const running = tasksByService(snapshot);
  const declared = [...snapshot.stacks.values()].flatMap(({ value: { spec } }) =>
    spec.services.map((service): ServiceView => {
      const id = serviceId(spec.name, service.name);
      const isHeld = (slot: number): boolean => running.get(id)?.heldSlots.has(slot) === true;
      return {
        stack: spec.name,
        name: service.name,
        mode: service.mode,
        image: service.template.image.reference,
        replicas: {
          desired: wantedSlotsOf(snapshot, liveness, service, isHeld).size,
          running: running.get(id)?.runningSlots.size ?? 0,
        },
        ports: snapshot.services.get(id)?.value.ports ?? [],
        rollout: rolloutView(snapshot.services.get(id)?.value.rollout, running.get(id), isoTime),
      };
    }),
  );
  const ids = new Set(declared.map((view) => serviceId(view.stack, view.name)));
  const going = [...snapshot.services].flatMap(([id, { value }]): ServiceView[] => {
    if (ids.has(id)) return [];
    const { runningSlots, image = '' } = running.get(id) ?? {};
    const { stack: ofStack, name, ports } = value;
    const replicas = { desired: 0, running: runningSlots?.size ?? 0 };
    return [{ stack: ofStack, name, mode: 'replicated', image, replicas, ports, rollout: null }];
  });
  return [...declared, ...going]
    .filter((view) => stack === undefined || view.stack === stack)
    .sort((a, b) => compareText(a.stack, b.stack) || compareText(a.name, b.name));
}

function rolloutView(
  rollout: Rollout | undefined,
  tasks: TasksOfService | undefined,
  isoTime: ViewInput['isoTime'],
): RolloutView | null {
  if (rollout === undefined) return null;
  const { state, version, templateHash, failedSlots, startedAtMs, endedAtMs, reason } = rollout;
  return {
    state,
    version,
    updated: tasks?.slotsByTemplate.get(templateHash)?.size ?? 0,
    failed: failedSlots.length,
    startedAt: isoTime(startedAtMs),
    endedAt: endedAtMs === undefined ? null : isoTime(endedAtMs),
    reason: reason ?? null,
  };
}

/** Sorted by name, `n2` before `n10`. A node this controller has not heard yet is `suspect` since it joined. */
export function nodeViews({ snapshot, liveness, isoTime }: Omit<ViewInput, 'reasons'>): readonly NodeView[] {
  const used = new Map<string, { cpuMillis: number; memoryBytes: number; tasks: number }>();
  for (const { value: task } of snapshot.tasks.values()) {
    if (task.nodeId === undefined || isEnded(taskState(task, snapshot.statuses.get(task.id)))) continue;
    const sum = used.get(task.nodeId) ?? { cpuMillis: 0, memoryBytes: 0, tasks: 0 };
    sum.cpuMillis += task.template.reservations.cpuMillis;
    sum.memoryBytes += task.template.reservations.memoryBytes;
    sum.tasks += 1;
    used.set(task.nodeId, sum);
  }
  const views = [...snapshot.nodes.values()].map(({ value: node }): NodeView => {
    const facts = snapshot.facts.get(node.id);
    const heard = liveness.get(node.id);
    const { cpuMillis = 0, memoryBytes = 0, tasks = 0 } = used.get(node.id) ?? {};
    return {
      id: node.id,
      name: node.name,
      state: heard?.state ?? 'suspect',
      availability: node.availability,
      address: facts?.address ?? '',
      capacity: facts?.capacity ?? noResources,
      reserved: { cpuMillis, memoryBytes },
      tasks,
      since: isoTime(heard?.sinceMs ?? node.joinedAtMs),
      labels: node.labels,
      notes: heard === undefined ? [] : notesOf(heard),
    };
  });
  return views.sort((a, b) => compareNames(a.name, b.name));
}

/** What a state alone does not say. */
function notesOf({ reason, notAccepting, overStream }: NodeLiveness): readonly string[] {
  return [
    ...(reason === undefined ? [] : [reason]),
    ...(notAccepting === undefined ? [] : [`not accepting tasks: ${notAccepting}`]),
    ...(overStream === true
      ? ['heard over its session only: its datagrams stay away, a loss is noticed after 3 s']
      : []),
  ];
}

function matches(task: Task, status: TaskStatus | undefined, filter: TaskFilter): boolean {
  if (filter.stack !== undefined && task.stack !== filter.stack) return false;
  if (filter.service !== undefined && task.service !== filter.service) return false;
  return filter.all === true || task.desired === 'running' || !isEnded(taskState(task, status));
}

function taskView({ snapshot, liveness, reasons, isoTime }: ViewInput, task: Task): TaskView {
  const status = snapshot.statuses.get(task.id);
  const state = taskState(task, status);
  const sinceMs = sinceOf(task, status, state, liveness);
  const node = task.nodeId === undefined ? null : (snapshot.nodes.get(task.nodeId)?.value.name ?? task.nodeId);
  return {
    id: task.id,
    stack: task.stack,
    service: task.service,
    slot: task.slot,
    node,
    state,
    desiredState: task.desired,
    health: status?.health ?? 'none',
    address: status?.address ?? null,
    ports: snapshot.services.get(serviceId(task.stack, task.service))?.value.ports ?? [],
    image: task.template.image.reference,
    since: sinceMs === undefined ? null : isoTime(sinceMs),
    startedAt: status?.startedAtMs === undefined ? null : isoTime(status.startedAtMs),
    exitCode: status?.exitCode ?? null,
    restarts: task.attempt,
    reason: reasonOf(task, status, state, reasons.get(task.id)),
  };
}

function sinceOf(
  task: Task,
  status: TaskStatus | undefined,
  state: TaskState,
  liveness: ReadonlyMap<string, NodeLiveness>,
): number | undefined {
  if (status?.state === state) return status.sinceMs;
  if (state === 'pending' || state === 'assigned') return task.createdAtMs;
  const node = liveness.get(task.nodeId ?? '');
  return node?.state === 'down' ? node.sinceMs : undefined;
}

/** What the person needs next: why it has no node, why it ended, why it is to end, or what it is doing. */
function reasonOf(
  task: Task,
  status: TaskStatus | undefined,
  state: TaskState,
  planned: string | undefined,
): string | null {
  if (state === 'pending') return planned ?? null;
  if (state === 'orphaned' || state === 'shutdown') return task.desiredReason ?? status?.reason ?? null;
  if (isEnded(state)) return status?.reason ?? endedWith(status) ?? null;
  // Its node is lost and may still run it.
  if (planned !== undefined && task.fence !== undefined) return planned;
  return (task.desired === 'running' ? status?.reason : task.desiredReason) ?? null;
}

const endedWith = (status: TaskStatus | undefined): string | undefined =>
  status?.exitCode === undefined ? undefined : `exit code ${String(status.exitCode)}`;

interface TasksOfService {
  /** In which a task runs; while one replaces the other, two do. */
  readonly runningSlots: Set<number>;
  /** Those in which a task of the template runs and is wanted, by its hash. */
  readonly slotsByTemplate: Map<string, Set<number>>;
  readonly image: string;
  /** Those with a task that is wanted. */
  readonly heldSlots: Set<number>;
}

/** By `stack/service`. */
function tasksByService(snapshot: Snapshot): ReadonlyMap<string, TasksOfService> {
  const running = new Map<string, TasksOfService>();
  for (const { value: task } of snapshot.tasks.values()) {
    const id = serviceId(task.stack, task.service);
    const entry = running.get(id) ?? noTasks(task.template.image.reference);
    running.set(id, entry);
    if (task.desired === 'running') entry.heldSlots.add(task.slot);
    if (taskState(task, snapshot.statuses.get(task.id)) !== 'running') continue;
    entry.runningSlots.add(task.slot);
    if (task.desired !== 'running') continue;
    const ofTemplate = entry.slotsByTemplate.get(task.templateHash) ?? new Set();
    entry.slotsByTemplate.set(task.templateHash, ofTemplate.add(task.slot));
  }
  return running;
}

const noTasks = (image: string): TasksOfService => ({
  runningSlots: new Set(),
  slotsByTemplate: new Map(),
  image,
  heldSlots: new Set(),
});

const bySlot = (a: Task, b: Task): number =>
  compareText(a.stack, b.stack) ||
  compareText(a.service, b.service) ||
  a.slot - b.slot ||
  b.attempt - a.attempt ||
  b.createdAtMs - a.createdAtMs ||
  compareText(a.id, b.id);

const compareText = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

/** `n2` before `n10`: a shared beginning, then the number. */
function compareNames(a: string, b: string): number {
  const [, stemA = a, numberA = ''] = /^(.*?)(\d*)$/.exec(a) ?? [];
  const [, stemB = b, numberB = ''] = /^(.*?)(\d*)$/.exec(b) ?? [];
  return compareText(stemA, stemB) || Number(numberA) - Number(numberB) || compareText(a, b);
}
