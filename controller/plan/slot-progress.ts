/** Where each slot of a service is on its way to the template in force. */
import { isLive, isWanted, latestOf } from './draft.ts';
import type { Declaration, Draft, DraftService, DraftTask } from './draft.ts';
import { waitsUntil } from '../../proto/domain/restart-policy.ts';
import { serves } from './slot-holders.ts';
import { wantedSlots } from './wanted-slots.ts';

export type SlotProgress = { readonly slot: number; readonly tasks: readonly DraftTask[] } & (
  | { readonly kind: 'settled' }
  /** Its new task runs; whether it goes on to is watched until then. */
  | { readonly kind: 'watched'; readonly untilMs: number }
  /** It is to be replaced and runs well. */
  | { readonly kind: 'outdated'; readonly holder: DraftTask }
  /** It runs well until its replacement does; the latest attempt at one may have ended. */
  | { readonly kind: 'overlaps'; readonly holder: DraftTask; readonly attempt: DraftTask }
  /** Nothing fits it now. */
  | { readonly kind: 'waits-for-room' }
  /** Something of it starts, stops, waits for its next attempt, or is on a node that is not heard. */
  | { readonly kind: 'moves' }
);

/** Of every wanted slot. `monitorMs`: how long new tasks of the update `version` are watched. */
export function slotProgress(
  draft: Draft,
  service: DraftService,
  inForce: Declaration,
  { version, monitorMs }: { readonly version: number; readonly monitorMs: number },
): readonly SlotProgress[] {
  return [...wantedSlots(draft, service)].map((slot): SlotProgress => {
    const tasks = service.slots.get(slot) ?? [];
    const current = tasks.filter((task) => isWanted(task) && isCurrent(inForce, task));
    const running = current.find((task) => serves(draft, task));
    if (running !== undefined) return { slot, tasks, ...watch(draft, running, version, monitorMs) };
    const holder = tasks.find((task) => !isCurrent(inForce, task) && serves(draft, task));
    if (holder !== undefined) {
      const attempt = attemptAfter(holder, inForce, tasks);
      return attempt === undefined
        ? { slot, tasks, kind: 'outdated', holder }
        : { slot, tasks, kind: 'overlaps', holder, attempt };
    }
    const [waiting] = current;
    if (waiting !== undefined) {
      const roomless =
        waiting.task.nodeId === undefined && waitsUntil(waiting.task, draft.input.now.wallMs) === undefined;
      return { slot, tasks, kind: roomless ? 'waits-for-room' : 'moves' };
    }
    // What has ended and is still wanted stays so by its restart policy.
    const over = !tasks.some(isLive) && latestOf(tasks) !== undefined;
    return { slot, tasks, kind: over ? 'settled' : 'moves' };
  });
}

export const isCurrent = ({ templateHash }: Declaration, { task }: DraftTask): boolean =>
  task.templateHash === templateHash;

/** The latest task made to replace the holder, where the holder stays until that runs. */
export function attemptAfter(
  holder: DraftTask,
  inForce: Declaration,
  tasks: readonly DraftTask[],
): DraftTask | undefined {
  return tasks.findLast((task) => !task.deleted && task.task.attempt > holder.task.attempt && isCurrent(inForce, task));
}

/** A clock that was set back to before the task ran says nothing about how long it has. */
function watch(
  draft: Draft,
  { task, status }: DraftTask,
  version: number,
  monitorMs: number,
): { readonly kind: 'settled' } | { readonly kind: 'watched'; readonly untilMs: number } {
  const ranAtMs = status?.ranAtMs ?? status?.sinceMs ?? 0;
  const untilMs = ranAtMs + monitorMs;
  const { wallMs } = draft.input.now;
  const over = task.rollout !== version || wallMs < ranAtMs || wallMs >= untilMs;
  return over ? { kind: 'settled' } : { kind: 'watched', untilMs };
}
