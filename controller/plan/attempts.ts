/** The attempts at a stack's slots, for who looks at a snapshot to tell people how it stands. */
import type { TaskTemplate } from '../../proto/domain/service.ts';
import type { Task } from '../../proto/domain/task.ts';
import { canonicalJson } from './canonical-json.ts';
import type { Snapshot } from './snapshot.ts';

/** By service, then by slot; oldest first. */
export function attemptsBySlot(
  snapshot: Snapshot,
  stack: string,
): ReadonlyMap<string, ReadonlyMap<number, readonly Task[]>> {
  const services = new Map<string, Map<number, Task[]>>();
  for (const { value: task } of snapshot.tasks.values()) {
    if (task.stack !== stack) continue;
    const slots = services.get(task.service) ?? new Map<number, Task[]>();
    const tasks = slots.get(task.slot) ?? [];
    tasks.push(task);
    slots.set(task.slot, tasks);
    services.set(task.service, slots);
  }
  for (const slots of services.values()) {
    for (const tasks of slots.values()) tasks.sort((a, b) => a.attempt - b.attempt || a.createdAtMs - b.createdAtMs);
  }
  return services;
}

/** Whether a task has this template. Tasks with equal hashes are compared once. */
export function comparisonWith(template: TaskTemplate): (task: Task) => boolean {
  const wanted = canonicalJson(template);
  const known = new Map<string, boolean>();
  return (task) => {
    const same = known.get(task.templateHash) ?? canonicalJson(task.template) === wanted;
    known.set(task.templateHash, same);
    return same;
  };
}

export function nodeNameOf(snapshot: Snapshot, { nodeId }: Task): string | null {
  return nodeId === undefined ? null : (snapshot.nodes.get(nodeId)?.value.name ?? nodeId);
}
