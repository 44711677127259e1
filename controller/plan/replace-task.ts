/** A task beside one that runs until its replacement does. */
import type { Declaration, Draft, DraftService, DraftTask } from './draft.ts';
import { isLive, latestOf } from './draft.ts';
import { addTask } from './reconcile-service.ts';
import { isReplaced, succeed, succeedWithNewTemplate } from '../../proto/domain/restart-policy.ts';
import { isCurrent } from './slot-progress.ts';

/** The first attempt to replace the holder. */
export function startBeside(
  draft: Draft,
  service: DraftService,
  inForce: Declaration,
  tasks: readonly DraftTask[],
  holder: DraftTask,
): void {
  const { task } = holder;
  const from = isCurrent(inForce, holder)
    ? { ...succeedWithNewTemplate(task), restarts: task.restarts, restartedAtMs: task.restartedAtMs }
    : succeedWithNewTemplate(task);
  const attempt = Math.max(from.attempt, (latestOf(tasks)?.task.attempt ?? 0) + 1);
  addTask(draft, service, inForce, task.slot, { ...from, attempt });
  draft.placesAgain = true;
}

/** After an attempt that has ended, another, with the delay that failures have, if its restart policy wants one. */
export function retryBeside(draft: Draft, service: DraftService, inForce: Declaration, attempt: DraftTask): void {
  if (isLive(attempt)) return;
  const { task, status } = attempt;
  const { restart } = inForce.spec;
  if (!isReplaced(restart, task, status)) return;
  addTask(draft, service, inForce, task.slot, succeed(restart, task, status, draft.input.now.wallMs));
  draft.placesAgain = true;
}
