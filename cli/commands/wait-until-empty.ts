import { setTimeout as delay } from 'node:timers/promises';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Problem } from '../../proto/base/errors.ts';
import type { NodeView, TaskView } from '../../proto/domain/views.ts';
import { leavingProblems, leavingText, liveLeaving, plainLeaving } from '../render/leaving.ts';
import type { LeavingNode } from '../render/leaving.ts';
import type { Control } from './control.ts';
import type { Host } from './host.ts';

/** A person sees no more; a controller answers both questions from memory. */
const lookIntervalMs = 400;

/**
 * Waits until nothing runs on the drained nodes any more, showing what is left on standard error.
 * @returns the nodes as they are then
 * @throws FrotaError `deadline` after `timeoutMs`, with one problem for each task that is left; `conflict` if a node is made
 * active meanwhile; `cancelled` if the person stops waiting
 */
export async function waitUntilEmpty(
  host: Host,
  control: Control,
  drained: readonly NodeView[],
  timeoutMs: number,
): Promise<readonly NodeView[]> {
  const block = await host.terminal.live();
  const { terminal } = host;
  const view =
    block === undefined ? plainLeaving((text) => terminal.err(text)) : liveLeaving(block, terminal.errColours);
  const ended = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([host.signal, ended]);
  let latest: readonly LeavingNode[] = drained.map((node) => ({ node, left: [], pending: [] }));
  let problems: readonly Problem[] = drained.map(({ name }) => ({ where: name, message: 'the controller told nothing about it' })); // prettier-ignore
  try {
    for (;;) {
      const seen = await look(control, drained, signal);
      if (seen === undefined) {
        view.note('the controller does not answer; trying again');
      } else {
        latest = seen;
        problems = leavingProblems(latest);
        view.update(latest);
        refuseActivated(latest);
        if (problems.length === 0) return latest.map(({ node }) => node);
      }
      await delay(lookIntervalMs, undefined, { signal });
    }
  } catch (thrown) {
    if (host.signal.aborted)
      throw new FrotaError('cancelled', 'stopped waiting; the nodes are drained and empty themselves');
    if (ended.aborted) throw notEmpty(latest, problems, timeoutMs);
    throw thrown;
  } finally {
    view.close();
  }
}

/** Undefined: no answer just now. */
async function look(
  control: Control,
  drained: readonly NodeView[],
  signal: AbortSignal,
): Promise<readonly LeavingNode[] | undefined> {
  try {
    const [nodes, tasks] = await Promise.all([control.listNodes(signal), control.listTasks({ all: false }, signal)]);
    return drained.map((before) => {
      const node = nodes.find(({ id }) => id === before.id);
      // A node that has left the cluster has nothing any more.
      if (node === undefined) return { node: { ...before, tasks: 0 }, left: [], pending: [] };
      const left = tasks.filter((task) => task.node === node.name && !hasEnded(task));
      return { node, left, pending: tasks.filter((task) => task.node === null) };
    });
  } catch (thrown) {
    if (FrotaError.from(thrown).code !== 'unavailable') throw thrown;
    return undefined;
  }
}

const endedStates = new Set<TaskView['state']>(['complete', 'shutdown', 'failed', 'rejected', 'remove', 'orphaned']);
const hasEnded = ({ state }: TaskView): boolean => endedStates.has(state);

function refuseActivated(nodes: readonly LeavingNode[]): void {
  const activated = nodes.find(({ node }) => node.availability !== 'drain');
  if (activated === undefined) return;
  const { name, availability } = activated.node;
  throw new FrotaError('conflict', `node ${name} was made ${availability} while this command waited for it`);
}

function notEmpty(nodes: readonly LeavingNode[], problems: readonly Problem[], timeoutMs: number): FrotaError {
  const names = nodes.filter(({ left }) => left.length > 0).map(({ node }) => node.name);
  const what = names.length === 0 ? leavingText(nodes) : names.join(', ');
  return new FrotaError('deadline', `not empty after ${String(timeoutMs / 1000)} s: ${what}`, { problems });
}
