/** PURE: what people name → tasks. */
import { FrotaError } from '../../proto/base/errors.ts';
import { serviceId } from '../../proto/domain/service.ts';
import { isEnded, slotName, taskState } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import { resolveTarget } from '../plan/resolve-service.ts';
import { isSlotName, isTaskId } from '../plan/resolve-task.ts';
import type { Snapshot } from '../plan/snapshot.ts';

/** What a name stands for, also for tasks that come later. */
export type Target =
  | { readonly kind: 'task'; readonly id: string }
  | { readonly kind: 'slot'; readonly stack: string; readonly service: string; readonly slot: number }
  | { readonly kind: 'service'; readonly stack: string; readonly service: string }
  | { readonly kind: 'stack'; readonly stack: string };

/** Throws `not-found`, or `invalid` for a name that means several. */
export function targetOf(snapshot: Snapshot, written: string): Target {
  const slot = slotOf(snapshot, written);
  if (slot !== undefined) return slot;
  const ids = [...snapshot.tasks.keys()].filter((id) => isTaskId(written, id));
  const resolved = resolveTarget(snapshot, written);
  if (resolved.kind !== 'problem') return resolved;
  const [id] = ids;
  if (id !== undefined && (ids.length === 1 || snapshot.tasks.has(written))) {
    return { kind: 'task', id: snapshot.tasks.has(written) ? written : id };
  }
  if (id !== undefined) {
    throw new FrotaError('invalid', `"${written}" begins the ids of ${String(ids.length)} tasks; write more of it`);
  }
  throw new FrotaError(resolved.code, resolved.message);
}

function slotOf(snapshot: Snapshot, written: string): Target | undefined {
  const slots = new Map<string, Task>();
  for (const { value: task } of snapshot.tasks.values()) {
    if (!isSlotName(written, task.stack, task.service, task.slot)) continue;
    slots.set(task.stack, task);
  }
  const [task] = slots.values();
  if (task === undefined) return undefined;
  if (slots.size === 1) return { kind: 'slot', stack: task.stack, service: task.service, slot: task.slot };
  const names = [...slots.keys()].map((stack) => `${stack}/${written}`).join(', ');
  throw new FrotaError('invalid', `"${written}" is in several stacks: ${names}`);
}

export function matches(target: Target, task: Task): boolean {
  if (target.kind === 'task') return task.id === target.id;
  if (task.stack !== target.stack) return false;
  if (target.kind === 'stack') return true;
  return task.service === target.service && (target.kind === 'service' || task.slot === target.slot);
}

/** The first running task of what is meant. Throws `conflict` with what there is instead. */
export function runningTask(snapshot: Snapshot, target: Target): Task & { readonly nodeId: string } {
  const tasks = [...snapshot.tasks.values()]
    .map(({ value }) => value)
    .filter((task) => matches(target, task))
    .sort((a, b) => a.slot - b.slot || b.attempt - a.attempt || b.createdAtMs - a.createdAtMs);
  const stateOf = (task: Task): string => taskState(task, snapshot.statuses.get(task.id));
  const running = tasks.find((task) => ['starting', 'running'].includes(stateOf(task)));
  if (running?.nodeId !== undefined) return { ...running, nodeId: running.nodeId };
  const [first] = tasks;
  const name = target.kind === 'task' ? `task ${target.id}` : nameOf(target);
  if (first === undefined) throw new FrotaError('conflict', `${name} has no task`);
  throw new FrotaError('conflict', `${name} does not run: ${slotName(first.service, first.slot)} is ${stateOf(first)}`);
}

function nameOf(target: Exclude<Target, { kind: 'task' }>): string {
  if (target.kind === 'stack') return `stack ${target.stack}`;
  const service = serviceId(target.stack, target.service);
  return target.kind === 'service' ? `service ${service}` : slotName(service, target.slot);
}

export const hasEnded = (snapshot: Snapshot, task: Task): boolean =>
  isEnded(taskState(task, snapshot.statuses.get(task.id)));
