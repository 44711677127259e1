/** PURE: everything the controller knows of what is named. Secrets are no part of any record that is read here. */
import type { Inspected } from '../../proto/codec/events.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { Task } from '../../proto/domain/task.ts';
import { isServiceName, isSlotName, isTaskId } from '../plan/resolve-task.ts';
import { nodeViews, serviceViews, taskViews } from '../plan/views.ts';
import type { ViewInput } from '../plan/views.ts';

/** A stack, a service (with or without its stack), a slot or a task's id, a node; all that have the name. Empty: none has. */
export function inspect(input: ViewInput, name: string): readonly Inspected[] {
  const found: Inspected[] = [];
  const add = (kind: string, value: object): void => {
    found.push({ kind, json: JSON.stringify(value) });
  };
  const { stacks, nodes } = input.snapshot;
  const stack = stacks.get(name)?.value;
  if (stack !== undefined) add('stack', { ...stack, services: serviceViews(input, name) });
  for (const value of servicesNamed(input, name)) add('service', value);
  for (const task of tasksNamed(input, name)) add('task', taskDetail(input, task));
  const views = nodeViews(input);
  for (const { value: node } of nodes.values()) {
    if (node.name !== name && node.id !== name) continue;
    const tasks = taskViews(input).filter((task) => task.node === node.name);
    add('node', {
      ...views.find((view) => view.id === node.id),
      ...node,
      facts: input.snapshot.facts.get(node.id),
      tasks,
    });
  }
  return found;
}

function* servicesNamed(input: ViewInput, name: string): Iterable<object> {
  const { stacks, services } = input.snapshot;
  for (const view of serviceViews(input)) {
    const id = serviceId(view.stack, view.name);
    if (!isServiceName(name, view.stack, view.name)) continue;
    const spec = stacks.get(view.stack)?.value.spec.services.find((service) => service.name === view.name);
    const tasks = taskViews(input, { stack: view.stack, service: view.name });
    yield { ...view, spec, record: services.get(id)?.value, tasks };
  }
}

/** By id, by the unique beginning of one, or by slot: then the newest task of the slot. */
function tasksNamed({ snapshot }: ViewInput, name: string): readonly Task[] {
  const all = [...snapshot.tasks.values()].map(({ value }) => value);
  const exact = snapshot.tasks.get(name)?.value;
  if (exact !== undefined) return [exact];
  const inSlot = all.filter((task) => isSlotName(name, task.stack, task.service, task.slot));
  if (inSlot.length > 0) {
    const newest = new Map<string, Task>();
    for (const task of inSlot) {
      const known = newest.get(task.stack);
      if (known === undefined || known.attempt < task.attempt) newest.set(task.stack, task);
    }
    return [...newest.values()];
  }
  const begins = all.filter((task) => isTaskId(name, task.id));
  return begins.length === 1 ? begins : [];
}

function taskDetail(input: ViewInput, task: Task): object {
  const view = taskViews(input, { stack: task.stack, service: task.service, all: true }).find(
    ({ id }) => id === task.id,
  );
  return { ...view, ...task, status: input.snapshot.statuses.get(task.id) };
}
