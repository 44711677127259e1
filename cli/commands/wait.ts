import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs } from '../../proto/base/backoff.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import { slotName } from '../../proto/domain/task.ts';
import type { Stuck } from '../../proto/domain/views.ts';
import { jsonProgress, liveProgress, plainProgress, unsettledProblems } from '../render/progress.ts';
import type { ProgressView } from '../render/progress.ts';
import { unsettledTasks } from '../render/settled.ts';
import { UnsettledError } from '../render/unsettled-error.ts';
import type { Control, StackProgress } from './control.ts';
import type { GlobalOptions, Host } from './host.ts';
import { lastLinesOf } from './last-lines.ts';
import type { FailedTask } from './last-lines.ts';
import { viewOf } from './waiting-view.ts';

/** A stack and the test for what is waited for. */
export interface Awaited {
  readonly stack: string;
  readonly reached: (progress: StackProgress) => boolean;
  /** What of it ends the waiting at once: it can't be reached any more. Absent: nothing does. */
  readonly stuck?: (progress: StackProgress) => readonly Stuck[];
  /** True: the stack is expected to go, so that "not found" is success and not an error. */
  readonly leaving?: boolean;
}

/** How long, and in which form the progress is told. */
export interface Waiting extends Pick<GlobalOptions, 'output'> {
  readonly timeoutMs: number;
}

/** A stack that is to run as it is declared. An earlier version may have converged, or failed, long ago. */
export const asDeclared = (stack: string, version: number): Awaited => ({
  stack,
  reached: (now) => now.converged && now.settling.length === 0 && now.version >= version,
  stuck: (now) => (now.version >= version ? now.stuck : []),
});

/** A controller that restarts is back within a second or two. */
const reconnect = { firstMs: 250, factor: 2, maxMs: 2000 };

/**
 * Waits until every stack is as awaited, showing progress on standard error. A connection that breaks is made again.
 * @throws FrotaError `stuck` as soon as one can't become so any more, with the reasons; `deadline` after `timeoutMs`, with one problem for each task that is not as wanted; both with the
 * last lines of what failed. `conflict` if a stack that should run is removed meanwhile; `cancelled` if the person stops waiting
 */
export async function waitForStacks(
  host: Host,
  control: Control,
  awaited: readonly Awaited[],
  waiting: Waiting,
): Promise<void> {
  const view = await viewOf(host, waiting, { live: liveProgress, plain: plainProgress, json: jsonProgress });
  const ended = new AbortController();
  const timer = setTimeout(() => {
    ended.abort();
  }, waiting.timeoutMs);
  const latest = new Map<string, StackProgress>();
  const signal = AbortSignal.any([host.signal, ended.signal]);
  try {
    await Promise.all(awaited.map((one) => waitForOne(control, one, view, latest, signal)));
  } catch (thrown) {
    if (host.signal.aborted) throw stoppedWaiting();
    const ending = ended.signal.aborted ? notConverged(awaited, latest, waiting.timeoutMs) : thrown;
    if (!(ending instanceof Ending)) throw ending;
    // The other stacks are shown as they are now.
    ended.abort();
    const { code, message, problems } = ending;
    throw new UnsettledError(code, message, { problems, logs: await lastLinesOf(control, ending.failed, host.signal) });
  } finally {
    clearTimeout(timer);
    // The other stacks' watches end with the one that failed.
    ended.abort();
    view.close();
  }
}

/** Why the waiting is over, before the last lines of what failed are read. */
class Ending extends FrotaError {
  readonly failed: readonly FailedTask[];

  constructor(
    code: 'stuck' | 'deadline',
    message: string,
    { problems, failed }: { readonly problems: FrotaError['problems']; readonly failed: readonly FailedTask[] },
  ) {
    super(code, message, { problems });
    this.failed = failed;
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
        if (stuck.length > 0) throw hopeless(one.stack, stuck, progress);
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

function hopeless(stack: string, stuck: readonly Stuck[], { failed }: StackProgress): FrotaError {
  const problems = stuck.map(({ service, slot, node, reason }) => ({
    where: `${stack}/${slot === null ? service : slotName(service, slot)}${node === null ? '' : ` on ${node}`}`,
    message: reason,
  }));
  const isOfThem = (service: string, slot: number): boolean =>
    stuck.some((one) => one.service === service && (one.slot === null || one.slot === slot));
  return new Ending('stuck', `${stack}: not as declared, and it will not come to that by itself`, {
    problems,
    failed: failed
      .filter(({ service, slot, started }) => started && isOfThem(service, slot))
      .map((attempt) => ({ stack, ...attempt })),
  });
}

const removedMeanwhile = (stack: string): FrotaError =>
  new FrotaError('conflict', `stack ${stack} was removed while this command waited for it`);

const stoppedWaiting = (): FrotaError =>
  new FrotaError('cancelled', 'stopped waiting; the change was accepted and goes on');

function notConverged(
  awaited: readonly Awaited[],
  latest: ReadonlyMap<string, StackProgress>,
  timeoutMs: number,
): Ending {
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
  return new Ending('deadline', `${names}: not as declared after ${waited}; the cluster goes on trying`, {
    problems,
    failed: open.flatMap(({ stack }) => {
      const progress = latest.get(stack);
      return progress === undefined ? [] : worthReading(stack, progress);
    }),
  });
}

/** What failed, then what has not come to run yet, or runs and is unhealthy. */
function worthReading(stack: string, progress: StackProgress): readonly FailedTask[] {
  const failed = progress.failed.filter(({ started }) => started).map((attempt) => ({ stack, ...attempt }));
  const open = unsettledTasks(progress)
    .filter((task) => task.desiredState === 'running' && task.startedAt !== null)
    .map((task) => ({ ...task, taskId: task.id }));
  return [...failed, ...open];
}
