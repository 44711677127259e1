/** How nodes become empty: the progress of `node drain --wait`. */
import type { Problem } from '../../proto/base/errors.ts';
import type { NodeView, TaskView } from '../../proto/domain/views.ts';
import type { Colours } from './colours.ts';
import type { LiveBlock } from './progress.ts';
import { isSettled } from './settled.ts';
import { countText, printable } from './text.ts';
import { paintState, taskName, taskStateText } from './views.ts';

/** A node that is to be empty. */
export interface LeavingNode {
  readonly node: NodeView;
  /** What runs there still. */
  readonly left: readonly TaskView[];
  /** All wanted tasks of the cluster that are not there: among them the replacements, with their reasons. */
  readonly elsewhere: readonly TaskView[];
  /** Attempts to replace what is left that have failed; looked for when the waiting ends. */
  readonly failed: readonly TaskView[];
}

export interface LeavingView {
  update(nodes: readonly LeavingNode[]): void;
  note(text: string): void;
  close(): void;
}

/** More rows than these would scroll a live view off its terminal. */
const maxTaskRows = 15;

export function liveLeaving(block: LiveBlock, colours: Colours): LeavingView {
  let shown = '';
  const draw = (note: string): void => {
    block.write(`${shown}${note === '' ? '' : `\n${colours.yellow(note)}`}`);
  };
  return {
    update: (nodes) => {
      shown = nodes.map((node) => leavingTree(node, colours)).join('\n');
      draw('');
    },
    note: (text) => {
      draw(printable(text));
    },
    close: () => {
      block.finish();
    },
  };
}

/** A line when the number of tasks that are left changes, and one for each new reason. */
export function plainLeaving(write: (text: string) => void): LeavingView {
  const told = new Set<string>();
  const tell = (line: string): void => {
    if (!told.has(line)) write(`${line}\n`);
    told.add(line);
  };
  return {
    update: (nodes) => {
      for (const node of nodes) {
        tell(countLine(node));
        for (const task of node.left) {
          const why = whyLeft(node, task);
          if (why !== undefined) tell(printable(`${taskName(task)} is left on ${node.node.name}: ${why}`));
        }
      }
    },
    note: (text) => {
      tell(printable(text));
    },
    close: () => undefined,
  };
}

/** One object a line whenever it changed: `{"progress": …}`, and `{"note": …}` about the waiting itself. */
export function jsonLeaving(write: (text: string) => void): LeavingView {
  let last = '';
  const tell = (value: object): void => {
    const line = JSON.stringify(value);
    if (line !== last) write(`${line}\n`);
    last = line;
  };
  return {
    update: (leaving) => {
      const nodes = leaving.map((each) => ({
        name: each.node.name,
        left: each.left.map((task) => ({ ...task, why: whyLeft(each, task) ?? null })),
      }));
      tell({ progress: { nodes } });
    },
    note: (text) => {
      tell({ note: text });
    },
    close: () => undefined,
  };
}

export const leavingText = (nodes: readonly LeavingNode[]): string => nodes.map(({ node }) => node.name).join(', ');

const countLine = ({ node, left }: LeavingNode): string =>
  left.length === 0 ? `${node.name} is empty` : `${node.name}: ${countText(left.length, 'task')} left`;

function leavingTree(leaving: LeavingNode, colours: Colours): string {
  const { node, left } = leaving;
  const count = left.length === 0 ? colours.green('empty') : colours.yellow(`${countText(left.length, 'task')} left`);
  const rows = left.slice(0, maxTaskRows).map((task) => {
    const why = whyLeft(leaving, task);
    const reason = why === undefined ? '' : `  ${colours.dim(printable(why))}`;
    return `${taskName(task)} ${paintState(taskStateText(task), colours)}${reason}`;
  });
  if (left.length > maxTaskRows) rows.push(colours.dim(`and ${countText(left.length - maxTaskRows, 'more task')}`));
  const marked = rows.map((row, index) => `${index === rows.length - 1 ? '└' : '├'} ${row}`);
  return [`${colours.bold(node.name)} ${count}`, ...marked].join('\n');
}

export const isOfSlot =
  (task: TaskView) =>
  (other: TaskView): boolean =>
    other.stack === task.stack && other.service === task.service && other.slot === task.slot && other.id !== task.id;

/** What keeps a task on its node: its replacement does not run yet, or the node can't be told. */
function whyLeft({ node, elsewhere, failed }: LeavingNode, task: TaskView): string | undefined {
  const replacement = elsewhere.find((other) => isOfSlot(task)(other) && !isSettled(other));
  if (replacement !== undefined) return `its replacement ${replacementText(replacement, failed.find(isOfSlot(task)))}`;
  return node.state === 'ready' ? undefined : `node ${node.name} is ${node.state}`;
}

function replacementText(task: TaskView, failed: TaskView | undefined): string {
  const where = task.node === null ? 'waits' : `is ${taskStateText(task)} on ${task.node}`;
  // Some reasons say themselves that it waits.
  const said = task.node === null && task.reason?.startsWith('waits ') === true ? task.reason : undefined;
  const text = said ?? (task.reason === null ? where : `${where}: ${task.reason}`);
  const before = failed?.reason ?? undefined;
  return before === undefined || text.includes(before) ? text : `${text}; the one before: ${before}`;
}

/** One for each task that is left, for the error that ends a wait. */
export function leavingProblems(nodes: readonly LeavingNode[]): readonly Problem[] {
  return nodes.flatMap((leaving) =>
    leaving.left.map((task) => {
      const why = whyLeft(leaving, task);
      const message = `${taskStateText(task)} on ${leaving.node.name}${why === undefined ? '' : `: ${why}`}`;
      return { where: taskName(task), message };
    }),
  );
}
