import type { Task, TaskStatus } from '../domain/task.ts';
import { desiredStateEnum, healthEnum, taskStateEnum } from './enums.ts';
import { templateFromWire, templateToWire } from './template.ts';
import * as w from './wire.ts';
import type { Received, Sent } from './wire.ts';

export const taskToWire = (value: Task): Sent<'Task'> => ({
  id: value.id,
  stack: value.stack,
  service: value.service,
  slot: w.uint32(value.slot, 'Task.slot'),
  template: templateToWire(value.template),
  templateHash: value.templateHash,
  nodeId: value.nodeId ?? null,
  desired: desiredStateEnum.toWire(value.desired),
  desiredReason: value.desiredReason ?? null,
  orphaned: value.orphaned ?? null,
  attempt: w.uint32(value.attempt, 'Task.attempt'),
  quickFailures: w.uint32(value.quickFailures, 'Task.quick_failures'),
  restarts: w.uint32(value.restarts, 'Task.restarts'),
  createdAtMs: w.long(value.createdAtMs, 'Task.created_at_ms'),
  notBeforeMs: w.optionalLong(value.notBeforeMs, 'Task.not_before_ms'),
  restartedAtMs: value.restartedAtMs.map((ms) => w.long(ms, 'Task.restarted_at_ms')),
  rollout: w.optionalUint32(value.rollout, 'Task.rollout'),
  fence: w.optionalLong(value.fence, 'Task.fence'),
  unhealthyAtMs: w.optionalLong(value.unhealthyAtMs, 'Task.unhealthy_at_ms'),
  byNode: value.byNode ?? null,
});

export const taskFromWire = (wire: Received<'Task'>): Task =>
  w.fields<Task>({
    id: w.name(wire.id, 'Task.id'),
    stack: w.name(wire.stack, 'Task.stack'),
    service: w.name(wire.service, 'Task.service'),
    slot: wire.slot,
    template: templateFromWire(w.required(wire.template, 'Task.template')),
    templateHash: wire.templateHash,
    nodeId: wire.nodeId ?? undefined,
    desired: desiredStateEnum.fromWire(wire.desired, 'Task.desired'),
    desiredReason: wire.desiredReason ?? undefined,
    orphaned: wire.orphaned ?? undefined,
    attempt: wire.attempt,
    quickFailures: wire.quickFailures,
    restarts: wire.restarts,
    createdAtMs: w.fromLong(wire.createdAtMs, 'Task.created_at_ms'),
    notBeforeMs: w.fromOptionalLong(wire.notBeforeMs, 'Task.not_before_ms'),
    restartedAtMs: wire.restartedAtMs.map((ms) => w.fromLong(ms, 'Task.restarted_at_ms')),
    rollout: wire.rollout ?? undefined,
    fence: w.fromOptionalLong(wire.fence, 'Task.fence'),
    unhealthyAtMs: w.fromOptionalLong(wire.unhealthyAtMs, 'Task.unhealthy_at_ms'),
    byNode: wire.byNode ?? undefined,
  });

export const taskStatusToWire = (value: TaskStatus): Sent<'TaskStatus'> => ({
  taskId: value.taskId,
  state: taskStateEnum.toWire(value.state),
  health: healthEnum.toWire(value.health),
  sinceMs: w.long(value.sinceMs, 'TaskStatus.since_ms'),
  startedAtMs: w.optionalLong(value.startedAtMs, 'TaskStatus.started_at_ms'),
  ranAtMs: w.optionalLong(value.ranAtMs, 'TaskStatus.ran_at_ms'),
  finishedAtMs: w.optionalLong(value.finishedAtMs, 'TaskStatus.finished_at_ms'),
  address: value.address ?? null,
  exitCode: value.exitCode === undefined ? null : w.int32(value.exitCode, 'TaskStatus.exit_code'),
  reason: value.reason ?? null,
});

export const taskStatusFromWire = (wire: Received<'TaskStatus'>): TaskStatus =>
  w.fields<TaskStatus>({
    taskId: w.name(wire.taskId, 'TaskStatus.task_id'),
    state: taskStateEnum.fromWire(wire.state, 'TaskStatus.state'),
    health: healthEnum.fromWire(wire.health, 'TaskStatus.health'),
    sinceMs: w.fromLong(wire.sinceMs, 'TaskStatus.since_ms'),
    startedAtMs: w.fromOptionalLong(wire.startedAtMs, 'TaskStatus.started_at_ms'),
    ranAtMs: w.fromOptionalLong(wire.ranAtMs, 'TaskStatus.ran_at_ms'),
    finishedAtMs: w.fromOptionalLong(wire.finishedAtMs, 'TaskStatus.finished_at_ms'),
    address: wire.address ?? undefined,
    exitCode: wire.exitCode ?? undefined,
    reason: wire.reason ?? undefined,
  });
