/** How nodes become empty: the progress of `node drain --wait`. */
import type { Problem } from '../../proto/base/errors.ts';
import type { NodeView, TaskView } from '../../proto/domain/views.ts';
import type { Colours } from './colours.ts';
import type { LiveBlock } from './progress.ts';
import { countText, printable } from './text.ts';
import { paintState, taskName, taskStateText } from './views.ts';

/** A node that is to be empty. */
export interface LeavingNode {
  readonly node: NodeView;
  /** What runs there still. */
  readonly left: readonly TaskView[];
  /** All tasks of the cluster that have no node: among them the replacements that can't be placed, with their reasons. */
  readonly pending: readonly TaskView[];
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

/** What keeps a task on its node: its replacement has no place, or the node can't be told. */
function whyLeft({ node, pending }: LeavingNode, task: TaskView): string | undefined {
  const isSameSlot = (other: TaskView): boolean =>
    other.stack === task.stack && other.service === task.service && other.slot === task.slot;
  const reason = pending.find((other) => isSameSlot(other) && other.id !== task.id)?.reason ?? undefined;
  if (reason !== undefined) return `its replacement waits: ${reason}`;
  return node.state === 'ready' ? undefined : `node ${node.name} is ${node.state}`;
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
