/**
 * The working copy of one pass. Stages change it in turn and so see each other's work; what differs from the
 * snapshot in the end becomes the plan's changes. Its indexes are built once a pass. It lives no longer than the pass.
 */
import type { Problem } from '../../proto/base/errors.ts';
import type { Node } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { Pin, Service, TaskTemplate } from '../../proto/domain/service.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Task, TaskState, TaskStatus } from '../../proto/domain/task.ts';
import type { ConstraintCheck } from '../schedule/attributes.ts';
import { openRestCheck } from './at-rest.ts';
import type { RestCheck } from './at-rest.ts';
import type { Declaration } from './declaration.ts';
import type { PlanInput, Snapshot, Stored } from './snapshot.ts';
import { hashingWith } from './template-hashes.ts';

export type { Declaration } from './declaration.ts';

export interface DraftTask {
  /** Absent: made in this pass. */
  readonly stored?: Stored<Task>;
  readonly status: TaskStatus | undefined;
  task: Task;
  deleted: boolean;
}

/** A service that is declared, or of which something is left. */
export interface DraftService {
  readonly id: string;
  readonly stack: string;
  readonly name: string;
  readonly declared: Declaration | undefined;
  /** Asked for with `templateInForce`. */
  inForce?: Declaration;
  readonly stored: Stored<Service> | undefined;
  record: Service | undefined;
  /** Of a record that goes in this pass. */
  leaves?: readonly Pin[];
  /** By slot, every task, ended ones too; made when first asked for. */
  readonly slots: Map<number, DraftTask[]>;
  /** Nothing of its tasks changes in this pass (`at-rest`). */
  readonly isAtRest: boolean;
  /** Asked for with `wantedSlots`. */
  wanted?: ReadonlySet<number>;
  /** Its constraints, read once (`slot-holders`). */
  unmet?: ConstraintCheck;
  /** Why none of its tasks is placed yet (`dependencies`). */
  waitsFor?: string;
}

export interface Draft {
  readonly snapshot: Snapshot;
  readonly input: PlanInput;
  /** By `stack/service`, in that order. */
  readonly services: ReadonlyMap<string, DraftService>;
  /** Those that are not at rest, in the same order. */
  readonly moving: readonly DraftService[];
  /** The tasks of all others, of which none changes. */
  readonly resting: readonly Stored<Task>[];
  /** Ids of nodes that this pass gives up (`judge-nodes`). */
  readonly lost: Set<string>;
  /** Asked for with `nodeOfSlot`. */
  nodesBySlot?: ReadonlyMap<number, Node>;
  readonly reasons: Map<string, string>;
  readonly problems: Problem[];
  wakeAtMs: number | undefined;
  /** Tasks were made after the others had been placed. */
  placesAgain: boolean;
}

/** `isAtRest` says which services the stages pass over; it changes what a pass costs, never what comes of it. */
export function openDraft(
  snapshot: Snapshot,
  input: PlanInput,
  isAtRest: RestCheck = openRestCheck(snapshot, input),
): Draft {
  const found = [...sourcesOf(snapshot, input).values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const services = new Map<string, DraftService>();
  const moving: DraftService[] = [];
  const resting: Stored<Task>[] = [];
  for (const source of found) {
    const service = openService(snapshot, source, isAtRest);
    services.set(service.id, service);
    if (!service.isAtRest) moving.push(service);
    else for (const stored of source.tasks) resting.push(stored);
  }
  return {
    snapshot,
    input,
    services,
    moving,
    resting,
    lost: new Set(),
    reasons: new Map(),
    problems: [],
    wakeAtMs: undefined,
    placesAgain: false,
  };
}

/** What the snapshot has of one service. */
interface Source {
  readonly id: string;
  readonly stack: string;
  readonly name: string;
  readonly declared: Declaration | undefined;
  readonly tasks: Stored<Task>[];
}

function sourcesOf(snapshot: Snapshot, input: PlanInput): ReadonlyMap<string, Source> {
  const hashOf = input.templateHash ?? hashingWith(input.hash);
  const sources = new Map<string, Source>();
  // Tasks find theirs without a new text for each.
  const byStack = new Map<string, Map<string, Source>>();
  const add = (stack: string, name: string, declared?: Declaration): Source => {
    const source: Source = { id: serviceId(stack, name), stack, name, declared, tasks: [] };
    const ofStack = byStack.get(stack) ?? new Map<string, Source>();
    byStack.set(stack, ofStack.set(name, source));
    sources.set(source.id, source);
    return source;
  };
  for (const { value: stack } of snapshot.stacks.values()) {
    for (const spec of stack.spec.services) {
      add(stack.spec.name, spec.name, { spec, templateHash: hashOf(spec.template) });
    }
  }
  for (const [id, { value }] of snapshot.services) if (!sources.has(id)) add(value.stack, value.name);
  for (const stored of snapshot.tasks.values()) {
    const { stack, service } = stored.value;
    (byStack.get(stack)?.get(service) ?? add(stack, service)).tasks.push(stored);
  }
  return sources;
}

function openService(
  snapshot: Snapshot,
  { id, stack, name, declared, tasks }: Source,
  isAtRest: RestCheck,
): DraftService {
  const stored = snapshot.services.get(id);
  let slots: Map<number, DraftTask[]> | undefined;
  return {
    id,
    stack,
    name,
    declared,
    stored,
    record: stored?.value,
    isAtRest: isAtRest(declared, stored?.value, tasks),
    get slots() {
      return (slots ??= slotsOf(snapshot, tasks));
    },
  };
}

function slotsOf({ statuses }: Snapshot, tasks: readonly Stored<Task>[]): Map<number, DraftTask[]> {
  const slots = new Map<number, DraftTask[]>();
  for (const stored of tasks) {
    const task = stored.value;
    addToSlot({ slots }, { stored, status: statuses.get(task.id), task, deleted: false });
  }
  for (const ofSlot of slots.values()) if (ofSlot.length > 1) ofSlot.sort(byAttempt);
  return slots;
}

/** The next pass is due then at the latest, though nothing happens. */
export function wakeAt(draft: Draft, wallMs: number): void {
  draft.wakeAtMs = Math.min(draft.wakeAtMs ?? Infinity, wallMs);
}

/** Two templates with equal hashes are interchangeable. */
export function templateHash(template: TaskTemplate, hash: (text: string) => string): string {
  return hashingWith(hash)(template);
}

export function addToSlot(service: Pick<DraftService, 'slots'>, task: DraftTask): void {
  const tasks = service.slots.get(task.task.slot);
  if (tasks === undefined) service.slots.set(task.task.slot, [task]);
  else tasks.push(task);
}

export const stateOf = (draft: DraftTask): TaskState => taskState(draft.task, draft.status);

/** It may still run, or has yet to. */
export const isLive = (draft: DraftTask): boolean => !draft.deleted && !isEnded(stateOf(draft));

/** It holds its slot: wanted, and it may still run or has yet to. */
export const isWanted = (draft: DraftTask): boolean => draft.task.desired === 'running' && isLive(draft);

/** The slot's newest attempt that is not deleted. */
export function latestOf(tasks: readonly DraftTask[]): DraftTask | undefined {
  return tasks.findLast((task) => !task.deleted);
}

/** No longer wanted. One that never had a node leaves nothing behind, so its record goes at once. */
export function retire(draft: DraftTask, reason: string): void {
  if (draft.deleted || draft.task.desired !== 'running') return;
  if (draft.task.nodeId === undefined) draft.deleted = true;
  else draft.task = { ...draft.task, desired: 'shutdown', desiredReason: reason };
}

export function* tasksOf(service: DraftService): Iterable<DraftTask> {
  for (const tasks of service.slots.values()) yield* tasks;
}

const byAttempt = (a: DraftTask, b: DraftTask): number =>
  a.task.attempt - b.task.attempt || a.task.createdAtMs - b.task.createdAtMs || (a.task.id < b.task.id ? -1 : 1);
