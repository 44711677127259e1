/** Rows for people: ISO 8601 and null in the domain, milliseconds and absence on the wire. */
import { FrotaError } from '../base/errors.ts';
import type {
  FailedAttempt,
  NodeView,
  RevisionService,
  RevisionView,
  RolloutView,
  ServiceView,
  Stuck,
  TaskView,
} from '../domain/views.ts';
import {
  availabilityEnum,
  changeKindEnum,
  desiredStateEnum,
  healthEnum,
  nodeStateEnum,
  rolloutStateEnum,
  serviceModeEnum,
  taskStateEnum,
} from './enums.ts';
import { publishedPortFromWire, publishedPortToWire } from './service.ts';
import { resourcesFromWire, resourcesToWire } from './template.ts';
import * as w from './wire.ts';
import type { Received, Sent, WireLong } from './wire.ts';

/** @throws FrotaError `invalid` for what is no ISO 8601 time. */
function isoToWire(iso: string, where: string): number {
  const ms = Date.parse(iso);
  if (Number.isNaN(ms)) throw new FrotaError('invalid', `${where} is "${iso}", which is not a time in ISO 8601`);
  return w.long(ms, where);
}

function isoFromWire(wire: WireLong, where: string): string {
  const date = new Date(w.fromLong(wire, where));
  if (Number.isNaN(date.getTime())) throw new FrotaError('corrupt', `${where} is no time that can be written`);
  return date.toISOString();
}

const optionalIsoToWire = (iso: string | null, where: string): number | null =>
  iso === null ? null : isoToWire(iso, where);

const optionalIsoFromWire = (wire: WireLong | null, where: string): string | null =>
  wire === null ? null : isoFromWire(wire, where);

export const taskViewToWire = (value: TaskView): Sent<'TaskView'> => ({
  id: value.id,
  stack: value.stack,
  service: value.service,
  slot: w.uint32(value.slot, 'TaskView.slot'),
  node: value.node,
  state: taskStateEnum.toWire(value.state),
  desiredState: desiredStateEnum.toWire(value.desiredState),
  health: healthEnum.toWire(value.health),
  address: value.address,
  ports: value.ports.map(publishedPortToWire),
  image: value.image,
  sinceMs: optionalIsoToWire(value.since, 'TaskView.since'),
  startedAtMs: optionalIsoToWire(value.startedAt, 'TaskView.startedAt'),
  exitCode: value.exitCode === null ? null : w.int32(value.exitCode, 'TaskView.exitCode'),
  restarts: w.uint32(value.restarts, 'TaskView.restarts'),
  reason: value.reason,
});

export const taskViewFromWire = (wire: Received<'TaskView'>): TaskView => ({
  id: w.name(wire.id, 'TaskView.id'),
  stack: wire.stack,
  service: wire.service,
  slot: wire.slot,
  node: wire.node,
  state: taskStateEnum.fromWire(wire.state, 'TaskView.state'),
  desiredState: desiredStateEnum.fromWire(wire.desiredState, 'TaskView.desired_state'),
  health: healthEnum.fromWire(wire.health, 'TaskView.health'),
  address: wire.address,
  ports: wire.ports.map(publishedPortFromWire),
  image: wire.image,
  since: optionalIsoFromWire(wire.sinceMs, 'TaskView.since_ms'),
  startedAt: optionalIsoFromWire(wire.startedAtMs, 'TaskView.started_at_ms'),
  exitCode: wire.exitCode,
  restarts: wire.restarts,
  reason: wire.reason,
});

export const serviceViewToWire = (value: ServiceView): Sent<'ServiceView'> => ({
  stack: value.stack,
  name: value.name,
  mode: serviceModeEnum.toWire(value.mode),
  image: value.image,
  desired: w.uint32(value.replicas.desired, 'ServiceView.replicas.desired'),
  running: w.uint32(value.replicas.running, 'ServiceView.replicas.running'),
  ports: value.ports.map(publishedPortToWire),
  rollout: value.rollout && rolloutViewToWire(value.rollout),
});

const rolloutViewToWire = (value: RolloutView): Sent<'RolloutView'> => ({
  state: rolloutStateEnum.toWire(value.state),
  reason: value.reason,
  version: w.uint32(value.version, 'RolloutView.version'),
  updated: w.uint32(value.updated, 'RolloutView.updated'),
  failed: w.uint32(value.failed, 'RolloutView.failed'),
  startedAtMs: isoToWire(value.startedAt, 'RolloutView.startedAt'),
  endedAtMs: optionalIsoToWire(value.endedAt, 'RolloutView.endedAt'),
});

const rolloutViewFromWire = (wire: Received<'RolloutView'>): RolloutView => ({
  state: rolloutStateEnum.fromWire(wire.state, 'RolloutView.state'),
  version: wire.version,
  updated: wire.updated,
  failed: wire.failed,
  startedAt: isoFromWire(wire.startedAtMs, 'RolloutView.started_at_ms'),
  endedAt: optionalIsoFromWire(wire.endedAtMs, 'RolloutView.ended_at_ms'),
  reason: wire.reason,
});

export const serviceViewFromWire = (wire: Received<'ServiceView'>): ServiceView => ({
  stack: w.name(wire.stack, 'ServiceView.stack'),
  name: w.name(wire.name, 'ServiceView.name'),
  mode: serviceModeEnum.fromWire(wire.mode, 'ServiceView.mode'),
  image: wire.image,
  replicas: { desired: wire.desired, running: wire.running },
  ports: wire.ports.map(publishedPortFromWire),
  rollout: w.optional(wire.rollout, rolloutViewFromWire) ?? null,
});

export const nodeViewToWire = (value: NodeView): Sent<'NodeView'> => ({
  id: value.id,
  name: value.name,
  state: nodeStateEnum.toWire(value.state),
  availability: availabilityEnum.toWire(value.availability),
  address: value.address,
  capacity: resourcesToWire(value.capacity),
  reserved: resourcesToWire(value.reserved),
  tasks: w.uint32(value.tasks, 'NodeView.tasks'),
  sinceMs: isoToWire(value.since, 'NodeView.since'),
  labels: w.sortedMap(value.labels),
  notes: [...value.notes],
});

export const nodeViewFromWire = (wire: Received<'NodeView'>): NodeView => ({
  id: w.name(wire.id, 'NodeView.id'),
  name: w.name(wire.name, 'NodeView.name'),
  state: nodeStateEnum.fromWire(wire.state, 'NodeView.state'),
  availability: availabilityEnum.fromWire(wire.availability, 'NodeView.availability'),
  address: wire.address,
  capacity: resourcesFromWire(w.required(wire.capacity, 'NodeView.capacity')),
  reserved: resourcesFromWire(w.required(wire.reserved, 'NodeView.reserved')),
  tasks: wire.tasks,
  since: isoFromWire(wire.sinceMs, 'NodeView.since_ms'),
  labels: w.sortedMap(wire.labels),
  notes: wire.notes,
});

export const stuckToWire = (value: Stuck): Sent<'Stuck'> => ({
  service: value.service,
  slot: value.slot === null ? null : w.uint32(value.slot, 'Stuck.slot'),
  node: value.node,
  reason: value.reason,
});

export const stuckFromWire = (wire: Received<'Stuck'>): Stuck => ({
  service: w.name(wire.service, 'Stuck.service'),
  slot: wire.slot,
  node: wire.node,
  reason: wire.reason,
});

export const failedAttemptToWire = (value: FailedAttempt): Sent<'FailedAttempt'> => ({
  service: value.service,
  slot: w.uint32(value.slot, 'FailedAttempt.slot'),
  taskId: value.taskId,
  node: value.node,
  started: value.started,
  reason: value.reason,
});

export const failedAttemptFromWire = (wire: Received<'FailedAttempt'>): FailedAttempt => ({
  service: w.name(wire.service, 'FailedAttempt.service'),
  slot: wire.slot,
  taskId: w.name(wire.taskId, 'FailedAttempt.task_id'),
  node: wire.node,
  started: wire.started,
  reason: wire.reason,
});

export const revisionViewToWire = (value: RevisionView): Sent<'RevisionView'> => ({
  version: w.uint32(value.version, 'RevisionView.version'),
  current: value.current,
  kind: changeKindEnum.toWire(value.kind),
  by: value.by,
  atMs: isoToWire(value.at, 'RevisionView.at'),
  restores: value.restores === null ? null : w.uint32(value.restores, 'RevisionView.restores'),
  differences: [...value.differences],
  services: value.services === undefined ? null : { services: value.services.map(revisionServiceToWire) },
});

export const revisionViewFromWire = (wire: Received<'RevisionView'>): RevisionView =>
  w.fields<RevisionView>({
    version: wire.version,
    current: wire.current,
    kind: changeKindEnum.fromWire(wire.kind, 'RevisionView.kind'),
    by: wire.by,
    at: isoFromWire(wire.atMs, 'RevisionView.at_ms'),
    restores: wire.restores,
    differences: wire.differences,
    services: w.optional(wire.services, ({ services }) => services.map(revisionServiceFromWire)),
  });

const revisionServiceToWire = (value: RevisionService): Sent<'RevisionService'> => ({
  name: value.name,
  mode: serviceModeEnum.toWire(value.mode),
  image: value.image,
  digest: value.digest,
  replicas: value.replicas === null ? null : w.uint32(value.replicas, 'RevisionService.replicas'),
});

const revisionServiceFromWire = (wire: Received<'RevisionService'>): RevisionService => ({
  name: w.name(wire.name, 'RevisionService.name'),
  mode: serviceModeEnum.fromWire(wire.mode, 'RevisionService.mode'),
  image: wire.image,
  digest: wire.digest,
  replicas: wire.replicas,
});
