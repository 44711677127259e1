import type { NodeView, ServiceView, TaskView } from '../../proto/domain/views.ts';
import type { PublishedPort } from '../../proto/domain/service.ts';
import type { TaskState } from '../../proto/domain/task.ts';
import type { Colours } from './colours.ts';
import { tableText } from './table.ts';
import { ageText, bytesText, coresText } from './text.ts';

/** `8080->80`, `53->53/udp`: as `docker ps` writes them. */
export const portText = ({ published, target, protocol }: PublishedPort): string =>
  `${String(published)}->${String(target)}${protocol === 'tcp' ? '' : `/${protocol}`}`;

const portsText = (ports: readonly PublishedPort[]): string => ports.map(portText).join(', ');

export function servicesTable(services: readonly ServiceView[], colours: Colours): string {
  const rows = services.map((service) => [
    `${service.stack}/${service.name}`,
    service.mode,
    `${String(service.replicas.running)}/${String(service.replicas.desired)}`,
    service.image,
    portsText(service.ports),
    service.rollout === null || service.rollout.state === 'completed' ? '' : service.rollout.state,
  ]);
  return tableText(colours, ['SERVICE', 'MODE', 'RUNNING', 'IMAGE', 'PORTS', 'UPDATE'], rows, (cell, column) => {
    if (column !== 2) return cell;
    const [running, desired] = cell.split('/');
    return running === desired ? colours.green(cell) : colours.yellow(cell);
  });
}

export function tasksTable(tasks: readonly TaskView[], nowMs: number, colours: Colours): string {
  const rows = tasks.map((task) => [
    task.id,
    taskName(task),
    task.node ?? '-',
    taskStateText(task),
    ageText(task.since, nowMs),
    task.address ?? '-',
    String(task.restarts),
    reasonText(task),
  ]);
  const head = ['ID', 'TASK', 'NODE', 'STATE', 'SINCE', 'ADDRESS', 'RESTARTS', 'REASON'];
  return tableText(colours, head, rows, (cell, column) => (column === 3 ? paintState(cell, colours) : cell));
}

export const taskName = (task: TaskView): string => `${task.stack}/${task.service}.${String(task.slot)}`;

/** The state, what is wanted of it where that differs, and its health where it has one. */
export function taskStateText(task: TaskView): string {
  // What has ended is neither told to stop nor healthy any more.
  if (isOver(task.state)) return task.state;
  const leaving = task.desiredState !== 'running';
  const health = task.health === 'none' || task.health === task.state ? [] : [task.health];
  const notes = [...(leaving ? ['stopping'] : []), ...health];
  return notes.length === 0 ? task.state : `${task.state} (${notes.join(', ')})`;
}

const isOver = (state: TaskState): boolean =>
  ['complete', 'shutdown', 'failed', 'rejected', 'remove', 'orphaned'].includes(state);

function reasonText(task: TaskView): string {
  const exit = task.exitCode === null ? '' : `exit ${String(task.exitCode)}`;
  if (task.reason === null) return exit;
  return exit === '' || task.reason.includes('exit') ? task.reason : `${exit}: ${task.reason}`;
}

export function paintState(text: string, colours: Colours): string {
  const state = text.split(' ')[0] ?? '';
  if (text.includes('unhealthy') || ['failed', 'rejected', 'orphaned', 'down'].includes(state))
    return colours.red(text);
  if (state === 'running' || state === 'ready' || state === 'complete') {
    return text.includes('(') ? colours.yellow(text) : colours.green(text);
  }
  return state === 'shutdown' || state === 'remove' ? colours.dim(text) : colours.yellow(text);
}

export function nodesTable(nodes: readonly NodeView[], nowMs: number, colours: Colours): string {
  const rows = nodes.map((node) => [
    node.name,
    node.state,
    node.availability,
    node.address,
    String(node.tasks),
    `${coresText(node.reserved.cpuMillis)}/${coresText(node.capacity.cpuMillis)}`,
    `${bytesText(node.reserved.memoryBytes)} / ${bytesText(node.capacity.memoryBytes)}`,
    ageText(node.since, nowMs),
  ]);
  const head = ['NODE', 'STATE', 'AVAILABILITY', 'ADDRESS', 'TASKS', 'CPUS', 'MEMORY', 'SINCE'];
  const table = tableText(colours, head, rows, (cell, column) => (column === 1 ? paintState(cell, colours) : cell));
  const notes = nodes.flatMap(({ name, notes: said }) => said.map((note) => `${name}: ${note}`));
  return [table, ...notes].join('\n');
}
