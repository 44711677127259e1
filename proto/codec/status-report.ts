/** What an agent says of one task: its shape in the domain's terms, and its converters. */
import type { Health, TaskState } from '../domain/task.ts';
import { healthEnum, taskStateEnum } from './enums.ts';
import * as w from './wire.ts';
import type { Received, Sent } from './wire.ts';

/** Times are milliseconds before this message was sent; the controller places them on its own clock. */
export interface StatusReport {
  readonly taskId: string;
  readonly state: TaskState;
  readonly health: Health;
  readonly sinceAgoMs: number;
  readonly startedAgoMs?: number;
  readonly finishedAgoMs?: number;
  readonly address?: string;
  readonly exitCode?: number;
  readonly reason?: string;
  /** Until the node has been told of the task. */
  readonly local?: LocalReport;
}

/** Of a task that its node made by itself, while it was cut off from every controller. */
export interface LocalReport {
  /** Ids of tasks: the latest first, last the one that the node was assigned. */
  readonly replaces: readonly string[];
  readonly createdAgoMs: number;
  /** These go on from what the assigned task's rule says. */
  readonly attempt: number;
  readonly quickFailures: number;
  readonly restarts: number;
  readonly restartedAgoMs: readonly number[];
}

const localToWire = (value: LocalReport): Sent<'LocalAttempt'> => ({
  replaces: [...value.replaces],
  createdAgoMs: w.long(value.createdAgoMs, 'LocalAttempt.created_ago_ms'),
  attempt: w.uint32(value.attempt, 'LocalAttempt.attempt'),
  quickFailures: w.uint32(value.quickFailures, 'LocalAttempt.quick_failures'),
  restarts: w.uint32(value.restarts, 'LocalAttempt.restarts'),
  restartedAgoMs: value.restartedAgoMs.map((ms) => w.long(ms, 'LocalAttempt.restarted_ago_ms')),
});

const localFromWire = (wire: Received<'LocalAttempt'>): LocalReport => ({
  replaces: wire.replaces,
  createdAgoMs: w.fromLong(wire.createdAgoMs, 'LocalAttempt.created_ago_ms'),
  attempt: wire.attempt,
  quickFailures: wire.quickFailures,
  restarts: wire.restarts,
  restartedAgoMs: wire.restartedAgoMs.map((ms) => w.fromLong(ms, 'LocalAttempt.restarted_ago_ms')),
});

export const reportToWire = (value: StatusReport): Sent<'StatusReport'> => ({
  taskId: value.taskId,
  state: taskStateEnum.toWire(value.state),
  health: healthEnum.toWire(value.health),
  sinceAgoMs: w.long(value.sinceAgoMs, 'StatusReport.since_ago_ms'),
  startedAgoMs: w.optionalLong(value.startedAgoMs, 'StatusReport.started_ago_ms'),
  finishedAgoMs: w.optionalLong(value.finishedAgoMs, 'StatusReport.finished_ago_ms'),
  address: value.address ?? null,
  exitCode: value.exitCode === undefined ? null : w.int32(value.exitCode, 'StatusReport.exit_code'),
  reason: value.reason ?? null,
  local: value.local === undefined ? null : localToWire(value.local),
});

export const reportFromWire = (wire: Received<'StatusReport'>): StatusReport =>
  w.fields<StatusReport>({
    taskId: w.name(wire.taskId, 'StatusReport.task_id'),
    state: taskStateEnum.fromWire(wire.state, 'StatusReport.state'),
    health: healthEnum.fromWire(wire.health, 'StatusReport.health'),
    sinceAgoMs: w.fromLong(wire.sinceAgoMs, 'StatusReport.since_ago_ms'),
    startedAgoMs: w.fromOptionalLong(wire.startedAgoMs, 'StatusReport.started_ago_ms'),
    finishedAgoMs: w.fromOptionalLong(wire.finishedAgoMs, 'StatusReport.finished_ago_ms'),
    address: wire.address ?? undefined,
    exitCode: wire.exitCode ?? undefined,
    reason: wire.reason ?? undefined,
    local: w.optional(wire.local, localFromWire),
  });
