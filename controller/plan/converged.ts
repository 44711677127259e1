/** Whether what a stack declares runs, and nothing else of it does: the end of `apply --wait` and `rm --wait`. */
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { RestartPolicy, ServiceSpec } from '../../proto/domain/service.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Task, TaskStatus } from '../../proto/domain/task.ts';
import { canonicalJson } from './canonical-json.ts';
import { isReplaced } from '../../proto/domain/restart-policy.ts';
import type { Snapshot } from './snapshot.ts';
import { wantedSlotsOf } from './wanted-slots.ts';
import type { WantedSlots } from './wanted-slots.ts';

/**
 * True when each wanted slot has a running and, where it is checked, healthy task of the declared template (or one that has completed and, by its policy,
 * stays so), nothing else of the stack still runs, and no update is under way or has failed. For a stack that was removed: when no task of it is left.
 */
export function isConverged(snapshot: Snapshot, liveness: ReadonlyMap<string, NodeLiveness>, stack: string): boolean {
  const spec = snapshot.stacks.get(stack)?.value.spec;
  const tasks = [...snapshot.tasks.values()].map(({ value }) => value).filter((task) => task.stack === stack);
  if (spec === undefined) return tasks.length === 0;
  const wanted = new Map(spec.services.map((service) => [service.name, wantedOf(snapshot, liveness, service, tasks)]));
  const declared = new Map(spec.services.map((service) => [service.name, service]));
  for (const [, { value }] of snapshot.services) {
    if (value.stack !== stack) continue;
    if (!declared.has(value.name) || (value.rollout ?? { state: 'completed' }).state !== 'completed') return false;
  }
  const settled = new Map(spec.services.map((service) => [service.name, new Set<number>()]));
  const isCurrent = templateComparison();
  for (const task of tasks) {
    const service = declared.get(task.service);
    const state = taskState(task, snapshot.statuses.get(task.id));
    const isWanted = task.desired === 'running' && wanted.get(task.service)?.has(task.slot) === true;
    const isCurrentAndSettled = (spec: ServiceSpec): boolean =>
      isCurrent(spec, task) && isSettled(spec.restart, task, snapshot.statuses.get(task.id));
    if (service !== undefined && isWanted && isCurrentAndSettled(service)) {
      settled.get(service.name)?.add(task.slot);
    } else if (!isEnded(state)) return false;
  }
  return spec.services.every(
    ({ name, ports }) =>
      settled.get(name)?.size === wanted.get(name)?.size && hasItsPorts(snapshot, stack, name, ports.length),
  );
}

function wantedOf(
  snapshot: Snapshot,
  liveness: ReadonlyMap<string, NodeLiveness>,
  service: ServiceSpec,
  tasks: readonly Task[],
): WantedSlots {
  const isHeld = (slot: number): boolean =>
    tasks.some((task) => task.service === service.name && task.slot === slot && task.desired === 'running');
  return wantedSlotsOf(snapshot, liveness, service, isHeld);
}

/** A port that another service holds is not given; that is no convergence. */
function hasItsPorts(snapshot: Snapshot, stack: string, name: string, ports: number): boolean {
  return snapshot.services.get(serviceId(stack, name))?.value.ports.length === ports;
}

type TemplateComparison = (service: ServiceSpec, task: Task) => boolean;

/** It runs and is not known to be unhealthy, or it has completed and, by its policy, stays so. */
export function isSettled(restart: RestartPolicy, task: Task, status: TaskStatus | undefined): boolean {
  const state = taskState(task, status);
  if (state === 'running') return status?.health === 'none' || status?.health === 'healthy';
  return state === 'complete' && !isReplaced(restart, task, status);
}

/** Tasks with equal hashes are compared once. */
function templateComparison(): TemplateComparison {
  const known = new Map<string, boolean>();
  return (service, task) => {
    const key = `${service.name} ${task.templateHash}`;
    const current = known.get(key) ?? canonicalJson(service.template) === canonicalJson(task.template);
    known.set(key, current);
    return current;
  };
}
