/** When a new task counts as a failure of the update that made it. */
import type { RestartPolicy } from '../../proto/domain/service.ts';
import { isEnded } from '../../proto/domain/task.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import { stateOf } from './draft.ts';
import type { DraftTask } from './draft.ts';

/**
 * Why the task has failed, for people: it ended by itself, could not start or turned unhealthy before it came to run,
 * or within `monitorMs` from then on. Neither a lost node nor being told to end is a failure.
 */
export function whyFailed(
  draft: DraftTask,
  restart: RestartPolicy,
  monitorMs: number,
  nowMs: number,
): string | undefined {
  const { task, status } = draft;
  if (status === undefined || task.orphaned === true) return undefined;
  const state = stateOf(draft);
  if (state === 'complete' && restart.condition !== 'any') return undefined;
  if (state === 'complete' || state === 'failed' || state === 'rejected') {
    return hasRunFor(status, status.finishedAtMs ?? status.sinceMs) <= monitorMs ? endText(status) : undefined;
  }
  // One that is told to end for another reason may well stop answering its check.
  const unwell = status.health === 'unhealthy' && !isEnded(state) && task.desired === 'running';
  const unhealthyAtMs = task.unhealthyAtMs ?? (unwell ? nowMs : undefined);
  if (unhealthyAtMs === undefined) return undefined;
  return hasRunFor(status, unhealthyAtMs) <= monitorMs ? unhealthyText(status) : undefined;
}

/** What its check said, or that there is nothing of it. */
const unhealthyText = ({ reason }: TaskStatus): string => reason ?? 'unhealthy';

/** What it said at its end, for people. */
export function endText({ exitCode, reason, state }: TaskStatus): string {
  const code = exitCode === undefined ? undefined : `exit code ${String(exitCode)}`;
  if (reason === undefined) return code ?? state;
  return code === undefined || /exit code|exited with code/u.test(reason) ? reason : `${code}: ${reason}`;
}

/** 0 for one that never came to run. Of an end that was told without all before it, only the start is known. */
function hasRunFor({ ranAtMs, startedAtMs, health }: TaskStatus, untilMs: number): number {
  if (ranAtMs !== undefined) return untilMs - ranAtMs;
  const neverRan = startedAtMs === undefined || health === 'starting' || health === 'unhealthy';
  return neverRan ? 0 : untilMs - startedAtMs;
}
