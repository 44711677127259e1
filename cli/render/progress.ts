/** How stacks come to what was declared: a live tree on a terminal, lines elsewhere, objects for scripts. */
import type { StackProgress } from '../../proto/codec/control.ts';
import type { FailedAttempt, ServiceView, TaskView } from '../../proto/domain/views.ts';
import type { Colours } from './colours.ts';
import { rolloutText } from './rollouts.ts';
import { completedOf, unsettledTasks } from './settled.ts';
import { countText, printable } from './text.ts';
import { paintState, taskName, taskStateText } from './views.ts';

/** `close` leaves the last state standing. */
export interface ProgressView {
  update(stack: string, progress: StackProgress): void;
  /** Something about the waiting itself, for example that the controller can't be reached. */
  note(text: string): void;
  close(): void;
}

/** More rows than these would scroll a live view off its terminal. */
const maxTaskRows = 15;
const maxServiceRows = 20;

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
      for (const [key, line] of lines) if (before?.get(key) !== withoutFigures(line)) write(`${line}\n`);
      shown.set(stack, new Map([...lines].map(([key, line]) => [key, withoutFigures(line)])));
    },
    note: (text) => {
      if (text !== lastNote) write(`${printable(text)}\n`);
      lastNote = text;
    },
    close: () => undefined,
  };
}

/** A line that says no more than how far a pull has come since the one before would be told several times a second. */
const withoutFigures = (line: string): string => line.replace(/[\d.]+ of ([\d.]+ MB)/u, '$1');

/** One object a line whenever it changed: `{"progress": …}`, and `{"note": …}` about the waiting itself. */
export function jsonProgress(write: (text: string) => void): ProgressView {
  const shown = new Map<string, string>();
  let lastNote = '';
  return {
    update: (stack, progress) => {
      lastNote = '';
      const line = JSON.stringify({ progress: { stack, ...progress } });
      if (shown.get(stack) !== line) write(`${line}\n`);
      shown.set(stack, line);
    },
    note: (text) => {
      if (text !== lastNote) write(`${JSON.stringify({ note: text })}\n`);
      lastNote = text;
    },
    close: () => undefined,
  };
}

/** `2/3 running`, `1/1 completed`, `1/2 running, 1 completed`. */
function countOf(progress: StackProgress, { name, replicas: { desired, running } }: ServiceView): string {
  const completed = completedOf(progress, name);
  if (completed === 0) return `${String(running)}/${String(desired)} running`;
  const ofAll = `${String(completed)}/${String(desired)} completed`;
  return running === 0 ? ofAll : `${String(running)}/${String(desired)} running, ${String(completed)} completed`;
}

function progressLines(stack: string, progress: StackProgress): Map<string, string> {
  const lines = new Map<string, string>();
  for (const service of progress.services) {
    const { name, replicas, rollout } = service;
    const update = rolloutText(rollout, replicas.desired);
    const text = `${stack}/${name} ${countOf(progress, service)}${update === '' ? '' : `, ${update}`}`;
    lines.set(`service ${name}`, text);
  }
  for (const task of unsettledTasks(progress)) {
    // Of the attempt before a line of its own, told once and not again with every step of this one.
    const last = before(task, progress.failed);
    if (last !== null) lines.set(`before ${task.id}`, printable(`${taskName(task)} ${last}`));
    lines.set(`task ${task.id}`, `${taskName(task)} ${taskLine(task, [])}`);
  }
  if (!progress.declared && progress.tasks.length === 0) lines.set('gone', `${stack} removed`);
  return lines;
}

function taskLine(task: TaskView, failed: readonly FailedAttempt[]): string {
  const why = whyText(task, failed);
  return printable(`${taskStateText(task)}${onNode(task)}${why === '' ? '' : `: ${why}`}`);
}

const whyText = (task: TaskView, failed: readonly FailedAttempt[]): string =>
  [task.reason, before(task, failed)].filter((text) => text !== null).join('; ');

/** What became of the attempt before, where that failed and the reason does not tell it already. */
function before(task: TaskView, failed: readonly FailedAttempt[]): string | null {
  if (task.desiredState !== 'running') return null;
  const last = failed.find(({ service, slot }) => service === task.service && slot === task.slot);
  if (last === undefined || last.taskId === task.id || task.reason?.includes(last.reason) === true) return null;
  return `attempt ${String(task.restarts + 1)}, the one before${onNode(last)}: ${last.reason}`;
}

const onNode = ({ node }: Pick<TaskView, 'node'>): string => (node === null ? '' : ` on ${node}`);

export function progressTree(stack: string, progress: StackProgress, colours: Colours): string {
  const title = progress.declared ? `version ${String(progress.version)}` : 'being removed';
  const rows = [`${colours.bold(stack)} ${colours.dim(title)}`];
  const unsettled = unsettledTasks(progress);
  const { names, left: hiddenServices } = servicesShown(progress, unsettled);
  let left = maxTaskRows;
  for (const [index, name] of names.entries()) {
    const last = index === names.length - 1 && hiddenServices === 0;
    rows.push(`${last ? '└' : '├'} ${serviceRow(name, progress, colours)}`);
    const tasks = unsettled.filter((task) => task.service === name);
    for (const task of tasks.slice(0, left)) {
      rows.push(`${last ? ' ' : '│'}   ${taskRow(task, progress.failed, colours)}`);
    }
    const hidden = tasks.length - Math.min(tasks.length, left);
    left -= tasks.length - hidden;
    if (hidden > 0) rows.push(`${last ? ' ' : '│'}   ${colours.dim(`and ${countText(hidden, 'more task')}`)}`);
  }
  if (hiddenServices > 0) rows.push(`└ ${colours.dim(`and ${countText(hiddenServices, 'more service')}`)}`);
  if (!progress.declared && unsettled.length === 0) rows.push('└ nothing left');
  return rows.join('\n');
}

/** Of many services those that are not as declared come before the others. */
function servicesShown(
  progress: StackProgress,
  unsettled: readonly TaskView[],
): { readonly names: readonly string[]; readonly left: number } {
  const names = [...new Set([...progress.services.map(({ name }) => name), ...unsettled.map((task) => task.service)])];
  if (names.length <= maxServiceRows) return { names, left: 0 };
  const isOpen = (name: string): boolean => unsettled.some((task) => task.service === name);
  const sorted = [...names.filter(isOpen), ...names.filter((name) => !isOpen(name))];
  return { names: sorted.slice(0, maxServiceRows), left: names.length - maxServiceRows };
}

function serviceRow(name: string, progress: StackProgress, colours: Colours): string {
  const service = progress.services.find((candidate) => candidate.name === name);
  if (service === undefined) return `${name} ${colours.dim('stopping')}`;
  const { desired, running } = service.replicas;
  const count = countOf(progress, service);
  const isFull = running + completedOf(progress, name) >= desired;
  const settles = isFull && progress.settling.includes(name) ? `  ${colours.dim('since just now')}` : '';
  const text = `${name} ${isFull ? colours.green(count) : colours.yellow(count)}${settles}`;
  const update = rolloutText(service.rollout, desired);
  if (update === '') return text;
  return `${text}  ${service.rollout?.state === 'updating' ? colours.yellow(update) : colours.red(update)}`;
}

function taskRow(task: TaskView, failed: readonly FailedAttempt[], colours: Colours): string {
  const why = whyText(task, failed);
  const reason = why === '' ? '' : `  ${colours.dim(printable(why))}`;
  return `${task.service}.${String(task.slot)} ${paintState(taskStateText(task), colours)}${printable(onNode(task))}${reason}`;
}

/** Why a stack is not what was declared: one entry for each update that has not completed and each unsettled task, for the error that ends a wait. */
export function unsettledProblems(progress: StackProgress): readonly { where: string; message: string }[] {
  const open = unsettledTasks(progress);
  const tasks = open.map((task) => ({ where: taskName(task), message: taskLine(task, progress.failed) }));
  const short = progress.services
    .filter(
      ({ name, replicas }) =>
        replicas.running + completedOf(progress, name) < replicas.desired &&
        !open.some(({ service }) => service === name),
    )
    .map(({ stack, name, replicas }) => ({
      where: `${stack}/${name}`,
      message: `${String(replicas.running)} of ${String(replicas.desired)} replicas run`,
    }));
  const updates = progress.services.flatMap(({ stack, name, replicas, rollout }) => {
    const message = rolloutText(rollout, replicas.desired);
    return message === '' ? [] : [{ where: `${stack}/${name}`, message }];
  });
  const settling = progress.services
    .filter(({ name }) => progress.settling.includes(name) && !open.some(({ service }) => service === name))
    .map(({ stack, name }) => {
      const last = progress.failed.find(({ service }) => service === name);
      const told = last === undefined ? '' : `; the attempt before${onNode(last)}: ${last.reason}`;
      return { where: `${stack}/${name}`, message: printable(`has only just come to run${told}`) };
    });
  return [...updates, ...tasks, ...short, ...settling];
}
