/**
 * Services whose new tasks run, but not for long enough to rely on it: a process that can't do its work mostly ends in
 * its first second. Where a health check speaks for the task, nothing is waited for.
 */
import { taskState } from '../../proto/domain/task.ts';
import type { Snapshot } from './snapshot.ts';

/** Swarm's client watches for 5 s; an update's own watch (`monitor`) comes on top. */
export const steadyAfterMs = 1_000;

export interface Settling {
  /** Sorted. */
  readonly services: readonly string[];
  /** When the first of their tasks has run for long enough; undefined: nothing is settling. */
  readonly dueInMs?: number;
}

export function settlingOf(snapshot: Snapshot, stack: string, nowMs: number): Settling {
  const services = new Set<string>();
  let dueInMs = Infinity;
  for (const { value: task } of snapshot.tasks.values()) {
    if (task.stack !== stack || task.desired !== 'running') continue;
    const status = snapshot.statuses.get(task.id);
    if (status?.health !== 'none' || taskState(task, status) !== 'running') continue;
    const ranForMs = nowMs - (status.ranAtMs ?? status.sinceMs);
    // A clock that was set back says nothing about how long it has run.
    if (ranForMs < 0 || ranForMs >= steadyAfterMs) continue;
    services.add(task.service);
    dueInMs = Math.min(dueInMs, steadyAfterMs - ranForMs);
  }
  return services.size === 0 ? { services: [] } : { services: [...services].sort(), dueInMs };
}
