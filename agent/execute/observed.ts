/** PURE: what a task's record and its container say about it when its actor begins, and words for what it does. */
import type { TaskStatus } from '../../proto/domain/task.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import { healthReason } from '../reconcile/health.ts';
import type { LocalTask, ObservedContainer, TaskEnd } from '../reconcile/task-step.ts';
import type { Container } from '../runtime/runtime.ts';
import type { TaskRecord } from './ports.ts';

export function initialStatus(record: TaskRecord, container: Container | undefined, nowMs: number): TaskStatus {
  const { assigned, check, health, end, startedAtMs, address } = record;
  const running = container?.state.kind === 'running' ? container.state.startedAtMs : undefined;
  const started = running ?? startedAtMs;
  const base = {
    taskId: assigned.id,
    health: check === undefined ? ('none' as const) : (health?.health ?? 'starting'),
    ...(started === undefined ? {} : { startedAtMs: started }),
    ...(address === undefined ? {} : { address }),
  };
  if (end !== undefined) return { ...base, state: end.state, sinceMs: end.finishedAtMs, ...endFields(end) };
  if (running !== undefined) {
    const hasPassed = check === undefined || health?.hasPassed === true;
    const reason = health === undefined ? undefined : healthReason(health);
    const told = { ...base, ...(reason === undefined ? {} : { reason }), sinceMs: running };
    return { ...told, state: hasPassed ? 'running' : 'starting' };
  }
  return { ...base, state: 'accepted', sinceMs: nowMs };
}

export function observedContainer(record: TaskRecord, container: Container | undefined): ObservedContainer {
  if (container === undefined) {
    return record.startRequested === true && record.end === undefined ? { kind: 'vanished' } : { kind: 'absent' };
  }
  switch (container.state.kind) {
    case 'created':
      return { kind: 'created' };
    case 'running':
      return { kind: 'running' };
    case 'ended':
      return { kind: 'ended', ...container.state.exit };
  }
}

/** As far as it is recorded that it is on its way out. */
export const endingOf = ({
  end,
  drainedAtMs,
  stopSentAtMs,
}: TaskRecord): Pick<LocalTask, 'end' | 'drainedAtMs' | 'stopSentAtMs'> => ({
  ...(end === undefined ? {} : { end }),
  ...(drainedAtMs === undefined ? {} : { drainedAtMs }),
  ...(stopSentAtMs === undefined ? {} : { stopSentAtMs }),
});

export function endFields(end: TaskEnd): Partial<TaskStatus> {
  return {
    finishedAtMs: end.finishedAtMs,
    ...(end.exitCode === undefined ? {} : { exitCode: end.exitCode }),
    ...(end.reason === undefined ? {} : { reason: end.reason }),
  };
}

/** Rejects when the signal aborts, so that a step that was interrupted does not wait for ever. */
export async function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => {
      reject(new FrotaError('cancelled', 'no longer wanted'));
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
