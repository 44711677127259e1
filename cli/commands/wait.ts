import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs } from '../../proto/base/backoff.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import { slotName } from '../../proto/domain/task.ts';
import type { Stuck } from '../../proto/domain/views.ts';
import { liveProgress, plainProgress, unsettledProblems } from '../render/progress.ts';
import type { ProgressView } from '../render/progress.ts';
import type { Control, StackProgress } from './control.ts';
import type { Host } from './host.ts';

/** A stack and the test for what is waited for. */
export interface Awaited {
  readonly stack: string;
  readonly reached: (progress: StackProgress) => boolean;
  /** What of it ends the waiting at once: it can't be reached any more. Absent: nothing does. */
  readonly stuck?: (progress: StackProgress) => readonly Stuck[];
  /** True: the stack is expected to go, so that "not found" is success and not an error. */
  readonly leaving?: boolean;
}

/** A stack that is to run as it is declared. An earlier version may have converged, or failed, long ago. */
export const asDeclared = (stack: string, version: number): Awaited => ({
  stack,
  reached: (now) => now.converged && now.version >= version,
  stuck: (now) => (now.version >= version ? now.stuck : []),
});

/** A controller that restarts is back within a second or two. */
const reconnect = { firstMs: 250, factor: 2, maxMs: 2000 };

/**
 * Waits until every stack is as awaited, showing progress on standard error. A connection that breaks is made again.
 * @throws FrotaError `stuck` as soon as one can't become so any more, with the reasons; `deadline` after `timeoutMs`, with one problem for each task that is not as wanted; `conflict` if
 * a stack that should run is removed meanwhile; `cancelled` if the person stops waiting
 */
export async function waitForStacks(
  host: Host,
  control: Control,
  awaited: readonly Awaited[],
  timeoutMs: number,
): Promise<void> {
  const block = await host.terminal.live();
  const view =
    block === undefined
      ? plainProgress((text) => {
          host.terminal.err(text);
        })
      : liveProgress(block, host.terminal.errColours);
  const ended = new AbortController();
  const timer = setTimeout(() => {
    ended.abort();
  }, timeoutMs);
  const latest = new Map<string, StackProgress>();
  const signal = AbortSignal.any([host.signal, ended.signal]);
  try {
    await Promise.all(awaited.map((one) => waitForOne(control, one, view, latest, signal)));
  } catch (thrown) {
    if (host.signal.aborted) throw stoppedWaiting();
    if (ended.signal.aborted) throw notConverged(awaited, latest, timeoutMs);
    throw thrown;
  } finally {
    clearTimeout(timer);
    // The other stacks' watches end with the one that failed.
    ended.abort();
    view.close();
  }
}

async function waitForOne(
  control: Control,
  one: Awaited,
  view: ProgressView,
  latest: Map<string, StackProgress>,
  signal: AbortSignal,
): Promise<void> {
  // What the controller shows may trail what it has just accepted: a stack can only go once it was there.
  let wasDeclared = false;
  for (let attempt = 0; ; attempt += 1) {
    try {
      for await (const progress of control.watchStack(one.stack, signal)) {
        attempt = 0;
        latest.set(one.stack, progress);
        view.update(one.stack, progress);
        if (one.reached(progress)) return;
        const stuck = one.stuck?.(progress) ?? [];
        if (stuck.length > 0) throw hopeless(one.stack, stuck);
        if (wasDeclared && !progress.declared && one.leaving !== true) throw removedMeanwhile(one.stack);
        wasDeclared ||= progress.declared;
      }
    } catch (thrown) {
      const error = FrotaError.from(thrown);
      if (error.code !== 'unavailable' && error.code !== 'not-found') throw error;
      if (error.code === 'not-found' && one.leaving === true) return;
      if (error.code === 'not-found' && wasDeclared) throw removedMeanwhile(one.stack);
      if (error.code === 'unavailable') view.note('the controller does not answer; trying again');
    }
    signal.throwIfAborted();
    await delay(backoffMs(reconnect, attempt, Math.random()), undefined, { signal });
  }
}

function hopeless(stack: string, stuck: readonly Stuck[]): FrotaError {
  const problems = stuck.map(({ service, slot, node, reason }) => ({
    where: `${stack}/${slot === null ? service : slotName(service, slot)}${node === null ? '' : ` on ${node}`}`,
    message: reason,
  }));
  return new FrotaError('stuck', `${stack}: not as declared, and it will not come to that by itself`, { problems });
}

const removedMeanwhile = (stack: string): FrotaError =>
  new FrotaError('conflict', `stack ${stack} was removed while this command waited for it`);

const stoppedWaiting = (): FrotaError =>
  new FrotaError('cancelled', 'stopped waiting; the change was accepted and goes on');

function notConverged(
  awaited: readonly Awaited[],
  latest: ReadonlyMap<string, StackProgress>,
  timeoutMs: number,
): FrotaError {
  const open = awaited.filter(({ stack, reached }) => {
    const progress = latest.get(stack);
    return progress === undefined || !reached(progress);
  });
  const names = open.map(({ stack }) => stack).join(', ');
  const problems = open.flatMap(({ stack }) => {
    const progress = latest.get(stack);
    return progress === undefined
      ? [{ where: stack, message: 'the controller told nothing about it' }]
      : unsettledProblems(progress);
  });
  const waited = `${String(timeoutMs / 1000)} s`;
  return new FrotaError('deadline', `${names}: not as declared after ${waited}; the cluster goes on trying`, {
    problems,
  });
}
