/** Whether what a stack declares runs, and nothing else of it does: the end of `apply --wait` and `rm --wait`. */
import { serviceId } from '../../proto/domain/service.ts';
import type { ServiceSpec } from '../../proto/domain/service.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import { canonicalJson } from './canonical-json.ts';
import { isReplaced } from './restart-policy.ts';
import type { Snapshot } from './snapshot.ts';

/**
 * True when each wanted slot has a running task of the declared template (or one that has completed and, by its policy,
 * stays so), and nothing else of the stack still runs. For a stack that was removed: when no task of it is left.
 */
export function isConverged(snapshot: Snapshot, stack: string): boolean {
  const spec = snapshot.stacks.get(stack)?.value.spec;
  const tasks = [...snapshot.tasks.values()].map(({ value }) => value).filter((task) => task.stack === stack);
  if (spec === undefined) return tasks.length === 0;
  const declared = new Map(spec.services.map((service) => [service.name, service]));
  for (const [, { value }] of snapshot.services) if (value.stack === stack && !declared.has(value.name)) return false;
  const settled = new Map(spec.services.map((service) => [service.name, new Set<number>()]));
  const isCurrent = templateComparison();
  for (const task of tasks) {
    const service = declared.get(task.service);
    const state = taskState(task, snapshot.statuses.get(task.id));
    if (service !== undefined && isSettled(service, task, state, isCurrent)) settled.get(service.name)?.add(task.slot);
    else if (!isEnded(state)) return false;
  }
  return spec.services.every(
    (service) => settled.get(service.name)?.size === service.replicas && hasItsPorts(snapshot, stack, service),
  );
}

/** A port that another service holds is not given; that is no convergence. */
function hasItsPorts(snapshot: Snapshot, stack: string, { name, ports }: ServiceSpec): boolean {
  const given = snapshot.services.get(serviceId(stack, name))?.value.ports;
  return given?.length === ports.length;
}

type TemplateComparison = (service: ServiceSpec, task: Task) => boolean;

function isSettled(
  service: ServiceSpec,
  task: Task,
  state: ReturnType<typeof taskState>,
  isCurrent: TemplateComparison,
): boolean {
  if (task.desired !== 'running' || task.slot > service.replicas || !isCurrent(service, task)) return false;
  return state === 'running' || (state === 'complete' && !isReplaced(service.restart, task, state));
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
