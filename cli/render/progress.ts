import type { StackProgress } from '../../proto/codec/control.ts';
import type { TaskView } from '../../proto/domain/views.ts';
import type { Colours } from './colours.ts';
import { rolloutText } from './rollouts.ts';
import { countText, printable } from './text.ts';
import { paintState, taskName, taskStateText } from './views.ts';

/** Shows how stacks come to what was declared; `close` leaves the last state standing. */
export interface ProgressView {
  update(stack: string, progress: StackProgress): void;
  /** Something about the waiting itself, for example that the controller can't be reached. */
  note(text: string): void;
  close(): void;
}

/** More rows than these would scroll a live view off its terminal. */
const maxTaskRows = 15;

/** Rewrites one block of a terminal; `write` replaces the block, `finish` keeps it. */
export interface LiveBlock {
  write(text: string): void;
  finish(): void;
}

export function liveProgress(block: LiveBlock, colours: Colours): ProgressView {
  const stacks = new Map<string, StackProgress>();
  let note = '';
  const draw = (): void => {
    const trees = [...stacks].map(([stack, progress]) => progressTree(stack, progress, colours));
    block.write(`${trees.join('\n')}${note === '' ? '' : `\n${colours.yellow(note)}`}`);
  };
  return {
    update: (stack, progress) => {
      stacks.set(stack, progress);
      note = '';
      draw();
    },
    note: (text) => {
      note = printable(text);
      draw();
    },
    close: () => {
      block.finish();
    },
  };
}

/** One line for each thing that changed, for logs and pipes. */
export function plainProgress(write: (text: string) => void): ProgressView {
  const shown = new Map<string, Map<string, string>>();
  let lastNote = '';
  return {
    update: (stack, progress) => {
      lastNote = '';
      const lines = progressLines(stack, progress);
      const before = shown.get(stack);
      for (const [key, line] of lines) if (before?.get(key) !== line) write(`${line}\n`);
      shown.set(stack, lines);
    },
    note: (text) => {
      if (text !== lastNote) write(`${printable(text)}\n`);
      lastNote = text;
    },
    close: () => undefined,
  };
}

/** Tasks worth a line: those that do not run yet, and those that still run though they should not. */
export const unsettledTasks = (progress: StackProgress): readonly TaskView[] =>
  progress.tasks.filter((task) => task.state !== 'running' || task.desiredState !== 'running' || isUnhealthy(task));

const isUnhealthy = (task: TaskView): boolean => task.health === 'unhealthy';

function progressLines(stack: string, progress: StackProgress): Map<string, string> {
  const lines = new Map<string, string>();
  for (const { name, replicas, rollout } of progress.services) {
    const count = `${String(replicas.running)}/${String(replicas.desired)} running`;
    const update = rolloutText(rollout, replicas.desired);
    lines.set(`service ${name}`, `${stack}/${name} ${count}${update === '' ? '' : `, ${update}`}`);
  }
  for (const task of unsettledTasks(progress)) lines.set(`task ${task.id}`, `${taskName(task)} ${taskLine(task)}`);
  if (!progress.declared && progress.tasks.length === 0) lines.set('gone', `${stack} removed`);
  return lines;
}

function taskLine(task: TaskView): string {
  const node = task.node === null ? '' : ` on ${task.node}`;
  const reason = task.reason === null ? '' : `: ${task.reason}`;
  return printable(`${taskStateText(task)}${node}${reason}`);
}

export function progressTree(stack: string, progress: StackProgress, colours: Colours): string {
  const title = progress.declared ? `version ${String(progress.version)}` : 'being removed';
  const rows = [`${colours.bold(stack)} ${colours.dim(title)}`];
  const unsettled = unsettledTasks(progress);
  const services = new Set([...progress.services.map(({ name }) => name), ...unsettled.map(({ service }) => service)]);
  let left = maxTaskRows;
  const names = [...services];
  for (const [index, name] of names.entries()) {
    const last = index === names.length - 1;
    rows.push(`${last ? '└' : '├'} ${serviceRow(name, progress, colours)}`);
    const tasks = unsettled.filter((task) => task.service === name);
    for (const task of tasks.slice(0, left)) rows.push(`${last ? ' ' : '│'}   ${taskRow(task, colours)}`);
    const hidden = tasks.length - Math.min(tasks.length, left);
    left -= tasks.length - hidden;
    if (hidden > 0) rows.push(`${last ? ' ' : '│'}   ${colours.dim(`and ${countText(hidden, 'more task')}`)}`);
  }
  if (!progress.declared && unsettled.length === 0) rows.push('└ nothing left');
  return rows.join('\n');
}

function serviceRow(name: string, progress: StackProgress, colours: Colours): string {
  const service = progress.services.find((candidate) => candidate.name === name);
  if (service === undefined) return `${name} ${colours.dim('stopping')}`;
  const { desired, running } = service.replicas;
  const count = `${String(running)}/${String(desired)} running`;
  const text = `${name} ${running === desired ? colours.green(count) : colours.yellow(count)}`;
  const update = rolloutText(service.rollout, desired);
  if (update === '') return text;
  return `${text}  ${service.rollout?.state === 'updating' ? colours.yellow(update) : colours.red(update)}`;
}

function taskRow(task: TaskView, colours: Colours): string {
  const node = task.node === null ? '' : ` on ${task.node}`;
  const reason = task.reason === null ? '' : `  ${colours.dim(printable(task.reason))}`;
  return `${task.service}.${String(task.slot)} ${paintState(taskStateText(task), colours)}${printable(node)}${reason}`;
}

/** Why a stack is not what was declared: one entry for each update that has not completed and each unsettled task, for the error that ends a wait. */
export function unsettledProblems(progress: StackProgress): readonly { where: string; message: string }[] {
  const tasks = unsettledTasks(progress).map((task) => ({ where: taskName(task), message: taskLine(task) }));
  const short = progress.services
    .filter(
      ({ name, replicas }) =>
        replicas.running < replicas.desired && !tasks.some(({ where }) => where.includes(`/${name}.`)),
    )
    .map(({ stack, name, replicas }) => ({
      where: `${stack}/${name}`,
      message: `${String(replicas.running)} of ${String(replicas.desired)} replicas run`,
    }));
  const updates = progress.services.flatMap(({ stack, name, replicas, rollout }) => {
    const message = rolloutText(rollout, replicas.desired);
    return message === '' ? [] : [{ where: `${stack}/${name}`, message }];
  });
  return [...updates, ...tasks, ...short];
}
