/**
 * The working copy of one pass. Stages change it in turn and so see each other's work; what differs from the
 * snapshot in the end becomes the plan's changes. Its indexes are built once a pass. It lives no longer than the pass.
 */
import type { Problem } from '../../proto/base/errors.ts';
import type { Node } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { Pin, Service, ServiceSpec, TaskTemplate } from '../../proto/domain/service.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Task, TaskState, TaskStatus } from '../../proto/domain/task.ts';
import { canonicalJson } from './canonical-json.ts';
import type { PlanInput, Snapshot, Stored } from './snapshot.ts';

export interface DraftTask {
  /** Absent: made in this pass. */
  readonly stored?: Stored<Task>;
  readonly status: TaskStatus | undefined;
  task: Task;
  deleted: boolean;
}

/** What a stack declares of a service, with the hash of its template. */
export interface Declaration {
  readonly spec: ServiceSpec;
  readonly templateHash: string;
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
  /** By slot, every task, ended ones too. */
  readonly slots: Map<number, DraftTask[]>;
  /** Asked for with `wantedSlots`. */
  wanted?: ReadonlySet<number>;
  /** Why none of its tasks is placed yet (`dependencies`). */
  waitsFor?: string;
}

export interface Draft {
  readonly snapshot: Snapshot;
  readonly input: PlanInput;
  /** By `stack/service`, in that order. */
  readonly services: ReadonlyMap<string, DraftService>;
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

export function openDraft(snapshot: Snapshot, input: PlanInput): Draft {
  const services = new Map<string, DraftService>();
  const add = (stack: string, name: string, declared?: Declaration): DraftService => {
    const id = serviceId(stack, name);
    const stored = snapshot.services.get(id);
    const service: DraftService = { id, stack, name, declared, stored, record: stored?.value, slots: new Map() };
    services.set(id, service);
    return service;
  };
  for (const { value: stack } of snapshot.stacks.values()) {
    for (const spec of stack.spec.services) {
      add(stack.spec.name, spec.name, { spec, templateHash: templateHash(spec.template, input.hash) });
    }
  }
  for (const [id, { value }] of snapshot.services) if (!services.has(id)) add(value.stack, value.name);
  for (const stored of snapshot.tasks.values()) {
    const task = stored.value;
    const service = services.get(serviceId(task.stack, task.service)) ?? add(task.stack, task.service);
    addToSlot(service, { stored, status: snapshot.statuses.get(task.id), task, deleted: false });
  }
  const sorted = [...services.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const service of sorted) for (const tasks of service.slots.values()) tasks.sort(byAttempt);
  return {
    snapshot,
    input,
    services: new Map(sorted.map((service) => [service.id, service])),
    lost: new Set(),
    reasons: new Map(),
    problems: [],
    wakeAtMs: undefined,
    placesAgain: false,
  };
}

/** The next pass is due then at the latest, though nothing happens. */
export function wakeAt(draft: Draft, wallMs: number): void {
  draft.wakeAtMs = Math.min(draft.wakeAtMs ?? Infinity, wallMs);
}

/** Two templates with equal hashes are interchangeable. */
export function templateHash(template: TaskTemplate, hash: (text: string) => string): string {
  return hash(canonicalJson(template));
}

export function addToSlot(service: DraftService, task: DraftTask): void {
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
