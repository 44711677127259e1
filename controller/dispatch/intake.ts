/** PURE: which of the reports a node sends are news, and whether they are stored or only remembered. */
import { isEnded, taskStateRank } from '../../proto/domain/task.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import type { Snapshot } from '../plan/snapshot.ts';

/** A report whose times are durations before it was sent, ms. */
export interface TimedReport {
  readonly status: Omit<TaskStatus, 'sinceMs' | 'startedAtMs' | 'finishedAtMs'>;
  readonly sinceAgoMs: number;
  readonly startedAgoMs?: number;
  readonly finishedAgoMs?: number;
}

export interface Intake {
  /** To be written before the batch is acknowledged. */
  readonly store: readonly TaskStatus[];
  /** Kept in memory; told again by the agent after a restart. */
  readonly remember: readonly TaskStatus[];
}

/** Only forward moves of tasks of this very node count; the rest is old news and is dropped. */
export function takeReports(
  snapshot: Snapshot,
  nodeId: string,
  reports: readonly TimedReport[],
  nowMs: number,
): Intake {
  const store = new Map<string, TaskStatus>();
  const remember = new Map<string, TaskStatus>();
  for (const report of reports) {
    const task = snapshot.tasks.get(report.status.taskId)?.value;
    if (task?.nodeId !== nodeId) continue;
    const known = store.get(task.id) ?? remember.get(task.id) ?? snapshot.statuses.get(task.id);
    const status = placeOnClock(report, known, nowMs);
    if (!isNews(known, status)) continue;
    const durable = status.state === 'running' || isEnded(status.state);
    (durable ? store : remember).set(task.id, status);
    if (durable) remember.delete(task.id);
  }
  return { store: [...store.values()], remember: [...remember.values()] };
}

/** What was known of the start stays as it was first told: an adopted container keeps its `startedAt`. */
function placeOnClock(report: TimedReport, known: TaskStatus | undefined, nowMs: number): TaskStatus {
  const startedAtMs = known?.startedAtMs ?? before(nowMs, report.startedAgoMs);
  const finishedAtMs = known?.finishedAtMs ?? before(nowMs, report.finishedAgoMs);
  return {
    ...report.status,
    sinceMs: known?.state === report.status.state ? known.sinceMs : nowMs - report.sinceAgoMs,
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
    ...(finishedAtMs === undefined ? {} : { finishedAtMs }),
  };
}

const before = (nowMs: number, agoMs: number | undefined): number | undefined =>
  agoMs === undefined ? undefined : nowMs - agoMs;

function isNews(known: TaskStatus | undefined, next: TaskStatus): boolean {
  if (known === undefined) return true;
  if (isEnded(known.state)) return false;
  const step = taskStateRank(next.state) - taskStateRank(known.state);
  if (step !== 0) return step > 0;
  return known.reason !== next.reason || known.health !== next.health || known.address !== next.address;
}
