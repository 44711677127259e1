/** Rows for people: ISO 8601 and null in the domain, milliseconds and absence on the wire. */
import { FrotaError } from '../base/errors.ts';
import type { NodeView, ServiceView, TaskView } from '../domain/views.ts';
import {
  availabilityEnum,
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
  rollout: value.rollout && {
    state: rolloutStateEnum.toWire(value.rollout.state),
    reason: value.rollout.reason,
  },
});

const rolloutViewFromWire = ({ state, reason }: Received<'RolloutView'>): NonNullable<ServiceView['rollout']> => ({
  state: rolloutStateEnum.fromWire(state, 'RolloutView.state'),
  reason,
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
});
