/** Services and stacks as bytes. */
import type { Placement } from '../domain/placement.ts';
import type {
  PortSpec,
  PublishedPort,
  RestartPolicy,
  Pin,
  Service,
  ServiceSpec,
  Stack,
  StackSpec,
} from '../domain/service.ts';
import type { Dependency, NetworkSpec, VolumeSpec } from '../domain/stack-parts.ts';
import type { Rollout, UpdatePolicy } from '../domain/update.ts';
import {
  dependencyConditionEnum,
  failureActionEnum,
  operatorEnum,
  protocolEnum,
  restartConditionEnum,
  rolloutStateEnum,
  serviceModeEnum,
  updateOrderEnum,
} from './enums.ts';
import { templateFromWire, templateToWire } from './template.ts';
import * as w from './wire.ts';
import type { Received, Sent } from './wire.ts';

const portSpecToWire = (value: PortSpec): Sent<'PortSpec'> => ({
  target: w.uint32(value.target, 'PortSpec.target'),
  published: w.optionalUint32(value.published, 'PortSpec.published'),
  protocol: protocolEnum.toWire(value.protocol),
});

const portSpecFromWire = (wire: Received<'PortSpec'>): PortSpec =>
  w.fields<PortSpec>({
    target: wire.target,
    published: wire.published ?? undefined,
    protocol: protocolEnum.fromWire(wire.protocol, 'PortSpec.protocol'),
  });

export const publishedPortToWire = (value: PublishedPort): Sent<'PublishedPort'> => ({
  target: w.uint32(value.target, 'PublishedPort.target'),
  published: w.uint32(value.published, 'PublishedPort.published'),
  protocol: protocolEnum.toWire(value.protocol),
});

export const publishedPortFromWire = (wire: Received<'PublishedPort'>): PublishedPort => ({
  target: wire.target,
  published: wire.published,
  protocol: protocolEnum.fromWire(wire.protocol, 'PublishedPort.protocol'),
});

export const restartToWire = (value: RestartPolicy): Sent<'RestartPolicy'> => ({
  condition: restartConditionEnum.toWire(value.condition),
  maxAttempts: w.optionalUint32(value.maxAttempts, 'RestartPolicy.max_attempts'),
  delayMs: w.optionalLong(value.delayMs, 'RestartPolicy.delay_ms'),
  windowMs: w.optionalLong(value.windowMs, 'RestartPolicy.window_ms'),
});

export const restartFromWire = (wire: Received<'RestartPolicy'>): RestartPolicy =>
  w.fields<RestartPolicy>({
    condition: restartConditionEnum.fromWire(wire.condition, 'RestartPolicy.condition'),
    maxAttempts: wire.maxAttempts ?? undefined,
    delayMs: w.fromOptionalLong(wire.delayMs, 'RestartPolicy.delay_ms'),
    windowMs: w.fromOptionalLong(wire.windowMs, 'RestartPolicy.window_ms'),
  });

const placementToWire = (value: Placement): Sent<'Placement'> => ({
  constraints: value.constraints.map(({ attribute, operator, value: wanted }) => ({
    attribute,
    operator: operatorEnum.toWire(operator),
    value: wanted,
  })),
  spread: [...value.spread],
  maxReplicasPerNode: w.optionalUint32(value.maxReplicasPerNode, 'Placement.max_replicas_per_node'),
});

const placementFromWire = (wire: Received<'Placement'>): Placement =>
  w.fields<Placement>({
    constraints: wire.constraints.map(({ attribute, operator, value }) => ({
      attribute: w.name(attribute, 'Constraint.attribute'),
      operator: operatorEnum.fromWire(operator, 'Constraint.operator'),
      value,
    })),
    spread: wire.spread,
    maxReplicasPerNode: wire.maxReplicasPerNode ?? undefined,
  });

const updateToWire = (value: UpdatePolicy): Sent<'UpdatePolicy'> => ({
  parallelism: w.uint32(value.parallelism, 'UpdatePolicy.parallelism'),
  delayMs: w.long(value.delayMs, 'UpdatePolicy.delay_ms'),
  order: updateOrderEnum.toWire(value.order),
  monitorMs: w.long(value.monitorMs, 'UpdatePolicy.monitor_ms'),
  failureAction: failureActionEnum.toWire(value.failureAction),
  maxFailureRatio: value.maxFailureRatio,
});

const updateFromWire = (wire: Received<'UpdatePolicy'>): UpdatePolicy => ({
  parallelism: wire.parallelism,
  delayMs: w.fromLong(wire.delayMs, 'UpdatePolicy.delay_ms'),
  order: updateOrderEnum.fromWire(wire.order, 'UpdatePolicy.order'),
  monitorMs: w.fromLong(wire.monitorMs, 'UpdatePolicy.monitor_ms'),
  failureAction: failureActionEnum.fromWire(wire.failureAction, 'UpdatePolicy.failure_action'),
  maxFailureRatio: wire.maxFailureRatio,
});

const dependencyToWire = (value: Dependency): Sent<'Dependency'> => ({
  service: value.service,
  condition: dependencyConditionEnum.toWire(value.condition),
  required: value.required,
});

const dependencyFromWire = (wire: Received<'Dependency'>): Dependency => ({
  service: w.name(wire.service, 'Dependency.service'),
  condition: dependencyConditionEnum.fromWire(wire.condition, 'Dependency.condition'),
  required: wire.required,
});

const networkSpecToWire = (value: NetworkSpec): Sent<'NetworkSpec'> => ({
  ...value,
  labels: w.sortedMap(value.labels),
});

const networkSpecFromWire = (wire: Received<'NetworkSpec'>): NetworkSpec => ({
  key: w.name(wire.key, 'NetworkSpec.key'),
  name: w.name(wire.name, 'NetworkSpec.name'),
  external: wire.external,
  internal: wire.internal,
  labels: w.sortedMap(wire.labels),
});

const volumeSpecToWire = (value: VolumeSpec): Sent<'VolumeSpec'> => ({ ...value, labels: w.sortedMap(value.labels) });

const volumeSpecFromWire = (wire: Received<'VolumeSpec'>): VolumeSpec => ({
  key: w.name(wire.key, 'VolumeSpec.key'),
  name: w.name(wire.name, 'VolumeSpec.name'),
  external: wire.external,
  labels: w.sortedMap(wire.labels),
});

const serviceSpecToWire = (value: ServiceSpec): Sent<'ServiceSpec'> => ({
  name: value.name,
  template: templateToWire(value.template),
  replicas: w.uint32(value.replicas, 'ServiceSpec.replicas'),
  restart: restartToWire(value.restart),
  ports: value.ports.map(portSpecToWire),
  mode: serviceModeEnum.toWire(value.mode),
  labels: w.sortedMap(value.labels),
  placement: placementToWire(value.placement),
  update: updateToWire(value.update),
  rollback: updateToWire(value.rollback),
  dependsOn: value.dependsOn.map(dependencyToWire),
  keepsImage: value.pullPolicy === 'missing',
});

const serviceSpecFromWire = (wire: Received<'ServiceSpec'>): ServiceSpec => ({
  name: w.name(wire.name, 'ServiceSpec.name'),
  template: templateFromWire(w.required(wire.template, 'ServiceSpec.template')),
  replicas: wire.replicas,
  restart: restartFromWire(w.required(wire.restart, 'ServiceSpec.restart')),
  ports: wire.ports.map(portSpecFromWire),
  mode: serviceModeEnum.fromWire(wire.mode, 'ServiceSpec.mode'),
  labels: w.sortedMap(wire.labels),
  placement: placementFromWire(w.required(wire.placement, 'ServiceSpec.placement')),
  update: updateFromWire(w.required(wire.update, 'ServiceSpec.update')),
  rollback: updateFromWire(w.required(wire.rollback, 'ServiceSpec.rollback')),
  dependsOn: wire.dependsOn.map(dependencyFromWire),
  pullPolicy: wire.keepsImage ? 'missing' : 'always',
});

export const stackSpecToWire = (value: StackSpec): Sent<'StackSpec'> => ({
  name: value.name,
  services: value.services.map(serviceSpecToWire),
  networks: value.networks.map(networkSpecToWire),
  volumes: value.volumes.map(volumeSpecToWire),
});

export const stackSpecFromWire = (wire: Received<'StackSpec'>): StackSpec => ({
  name: w.name(wire.name, 'StackSpec.name'),
  services: wire.services.map(serviceSpecFromWire),
  networks: wire.networks.map(networkSpecFromWire),
  volumes: wire.volumes.map(volumeSpecFromWire),
});

export const stackToWire = (value: Stack): Sent<'Stack'> => ({
  spec: stackSpecToWire(value.spec),
  version: w.uint32(value.version, 'Stack.version'),
  appliedAtMs: w.long(value.appliedAtMs, 'Stack.applied_at_ms'),
  appliedBy: value.appliedBy,
  declaredVersion: w.uint32(value.declaredVersion, 'Stack.declared_version'),
  keptContents: value.keptContents.map(({ contentId, version }) => ({
    contentId,
    version: w.uint32(version, 'KeptContent.version'),
  })),
});

export const stackFromWire = (wire: Received<'Stack'>): Stack => ({
  spec: stackSpecFromWire(w.required(wire.spec, 'Stack.spec')),
  version: wire.version,
  appliedAtMs: w.fromLong(wire.appliedAtMs, 'Stack.applied_at_ms'),
  appliedBy: wire.appliedBy,
  declaredVersion: wire.declaredVersion,
  keptContents: wire.keptContents.map(({ contentId, version }) => ({ contentId, version })),
});

const rolloutToWire = (value: Rollout): Sent<'Rollout'> => ({
  version: w.uint32(value.version, 'Rollout.version'),
  state: rolloutStateEnum.toWire(value.state),
  templateHash: value.templateHash,
  startedAtMs: w.long(value.startedAtMs, 'Rollout.started_at_ms'),
  endedAtMs: w.optionalLong(value.endedAtMs, 'Rollout.ended_at_ms'),
  batches: w.uint32(value.batches, 'Rollout.batches'),
  batchDoneAtMs: w.optionalLong(value.batchDoneAtMs, 'Rollout.batch_done_at_ms'),
  reason: value.reason ?? null,
  failedSlots: value.failedSlots.map((slot) => w.uint32(slot, 'Rollout.failed_slots')),
});

const rolloutFromWire = (wire: Received<'Rollout'>): Rollout =>
  w.fields<Rollout>({
    version: wire.version,
    state: rolloutStateEnum.fromWire(wire.state, 'Rollout.state'),
    templateHash: wire.templateHash,
    startedAtMs: w.fromLong(wire.startedAtMs, 'Rollout.started_at_ms'),
    endedAtMs: w.fromOptionalLong(wire.endedAtMs, 'Rollout.ended_at_ms'),
    batches: wire.batches,
    batchDoneAtMs: w.fromOptionalLong(wire.batchDoneAtMs, 'Rollout.batch_done_at_ms'),
    reason: wire.reason ?? undefined,
    failedSlots: wire.failedSlots,
  });

const pinsToWire = (pins: readonly Pin[]) =>
  pins.map(({ slot, nodeId, kept }) => ({ slot: w.uint32(slot, 'Pin.slot'), nodeId, kept: kept === true }));

const pinsFromWire = (pins: Received<'Service'>['pins']): readonly Pin[] =>
  pins.map(({ slot, nodeId, kept }) => ({
    slot,
    nodeId: w.name(nodeId, 'Pin.node_id'),
    ...(kept ? { kept: true } : {}),
  }));

export const keptPinsToWire = (pins: readonly Pin[]): Sent<'KeptPins'> => ({ pins: pinsToWire(pins) });
export const keptPinsFromWire = (wire: Received<'KeptPins'>): readonly Pin[] => pinsFromWire(wire.pins);

export const serviceToWire = (value: Service): Sent<'Service'> => ({
  stack: value.stack,
  name: value.name,
  vip: value.vip,
  ports: value.ports.map(publishedPortToWire),
  released: value.released,
  pins: pinsToWire(value.pins),
  rollout: value.rollout === undefined ? null : rolloutToWire(value.rollout),
  previous: value.previous === undefined ? null : templateToWire(value.previous),
});

export const serviceFromWire = (wire: Received<'Service'>): Service =>
  w.fields<Service>({
    stack: w.name(wire.stack, 'Service.stack'),
    name: w.name(wire.name, 'Service.name'),
    vip: w.name(wire.vip, 'Service.vip'),
    ports: wire.ports.map(publishedPortFromWire),
    released: wire.released,
    pins: pinsFromWire(wire.pins),
    rollout: w.optional(wire.rollout, rolloutFromWire),
    previous: w.optional(wire.previous, templateFromWire),
  });
