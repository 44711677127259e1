import { setTimeout as delay } from 'node:timers/promises';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Problem } from '../../proto/base/errors.ts';
import type { NodeView, TaskView } from '../../proto/domain/views.ts';
import { isOfSlot, jsonLeaving, leavingProblems, leavingText, liveLeaving, plainLeaving } from '../render/leaving.ts';
import type { LeavingNode } from '../render/leaving.ts';
import { UnsettledError } from '../render/unsettled-error.ts';
import type { Control } from './control.ts';
import type { Host } from './host.ts';
import { lastLinesOf } from './last-lines.ts';
import type { Waiting } from './wait.ts';
import { viewOf } from './waiting-view.ts';

/** A person sees no more; a controller answers both questions from memory. */
const lookIntervalMs = 400;

/**
 * Waits until nothing runs on the drained nodes any more, showing what is left on standard error.
 * @returns the nodes as they are then
 * @throws FrotaError `deadline` after `timeoutMs`, with one problem for each task that is left and the last lines of replacements that failed; `conflict` if a node is made
 * active meanwhile; `cancelled` if the person stops waiting
 */
export async function waitUntilEmpty(
  host: Host,
  control: Control,
  drained: readonly NodeView[],
  waiting: Waiting,
): Promise<readonly NodeView[]> {
  const view = await viewOf(host, waiting, { live: liveLeaving, plain: plainLeaving, json: jsonLeaving });
  const ended = AbortSignal.timeout(waiting.timeoutMs);
  const signal = AbortSignal.any([host.signal, ended]);
  let latest: readonly LeavingNode[] = drained.map((node) => ({ node, ...nothing }));
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
    if (ended.aborted) throw await notEmpty(host, control, { latest, problems }, waiting);
    throw thrown;
  } finally {
    view.close();
  }
}

const nothing = { left: [], elsewhere: [], failed: [] } as const;

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
      if (node === undefined) return { node: { ...before, tasks: 0 }, ...nothing };
      const left = tasks.filter((task) => task.node === node.name && !hasEnded(task));
      const elsewhere = tasks.filter((task) => task.node !== node.name && task.desiredState === 'running');
      return { node, left, elsewhere, failed: [] };
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

async function notEmpty(
  host: Host,
  control: Control,
  { latest, problems }: { readonly latest: readonly LeavingNode[]; readonly problems: readonly Problem[] },
  { timeoutMs }: Waiting,
): Promise<FrotaError> {
  const names = latest.filter(({ left }) => left.length > 0).map(({ node }) => node.name);
  const what = names.length === 0 ? leavingText(latest) : names.join(', ');
  const text = `not empty after ${String(timeoutMs / 1000)} s: ${what}`;
  const failures = await failedReplacements(host, control, latest).catch(() => undefined);
  if (failures === undefined) return new UnsettledError('deadline', text, { problems, logs: [] });
  const failed = failures.flatMap((node) => node.failed).filter(({ startedAt }) => startedAt !== null);
  return new UnsettledError('deadline', text, {
    problems: problems.length === 0 ? problems : leavingProblems(failures),
    logs: await lastLinesOf(
      control,
      failed.map((task) => ({ ...task, taskId: task.id })),
      host.signal,
    ),
  });
}

/** Of each slot that has something left, the latest attempt to replace it that failed. */
async function failedReplacements(
  host: Host,
  control: Control,
  nodes: readonly LeavingNode[],
): Promise<readonly LeavingNode[]> {
  const tasks = await control.listTasks({ all: true }, host.signal);
  return nodes.map((node) => ({
    ...node,
    failed: node.left.flatMap((task) => {
      const later = tasks.filter(
        (other) => isOfSlot(task)(other) && other.restarts > task.restarts && hasFailed(other),
      );
      return later.sort((a, b) => b.restarts - a.restarts).slice(0, 1);
    }),
  }));
}

const hasFailed = ({ state, health }: TaskView): boolean =>
  state === 'failed' || state === 'rejected' || (state === 'shutdown' && health === 'unhealthy');
