import type { ResourceLimits, Resources } from '../domain/resources.ts';
import type {
  PortSpec,
  PublishedPort,
  ResolvedImage,
  RestartPolicy,
  Service,
  ServiceSpec,
  Stack,
  StackSpec,
  TaskTemplate,
} from '../domain/service.ts';
import { protocolEnum, restartConditionEnum } from './enums.ts';
import * as w from './wire.ts';
import type { Received, Sent } from './wire.ts';

export const resourcesToWire = (value: Resources): Sent<'Resources'> => ({
  cpuMillis: w.long(value.cpuMillis, 'Resources.cpu_millis'),
  memoryBytes: w.long(value.memoryBytes, 'Resources.memory_bytes'),
});

export const resourcesFromWire = (wire: Received<'Resources'>): Resources => ({
  cpuMillis: w.fromLong(wire.cpuMillis, 'Resources.cpu_millis'),
  memoryBytes: w.fromLong(wire.memoryBytes, 'Resources.memory_bytes'),
});

const limitsToWire = (value: ResourceLimits): Sent<'ResourceLimits'> => ({
  cpuMillis: w.optionalLong(value.cpuMillis, 'ResourceLimits.cpu_millis'),
  memoryBytes: w.optionalLong(value.memoryBytes, 'ResourceLimits.memory_bytes'),
  pids: w.optionalLong(value.pids, 'ResourceLimits.pids'),
});

const limitsFromWire = (wire: Received<'ResourceLimits'>): ResourceLimits =>
  w.fields<ResourceLimits>({
    cpuMillis: w.fromOptionalLong(wire.cpuMillis, 'ResourceLimits.cpu_millis'),
    memoryBytes: w.fromOptionalLong(wire.memoryBytes, 'ResourceLimits.memory_bytes'),
    pids: w.fromOptionalLong(wire.pids, 'ResourceLimits.pids'),
  });

const portSpecToWire = (value: PortSpec): Sent<'PortSpec'> => ({
  target: w.uint32(value.target, 'PortSpec.target'),
  published: value.published === undefined ? null : w.uint32(value.published, 'PortSpec.published'),
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

const restartToWire = (value: RestartPolicy): Sent<'RestartPolicy'> => ({
  condition: restartConditionEnum.toWire(value.condition),
  maxAttempts: value.maxAttempts === undefined ? null : w.uint32(value.maxAttempts, 'RestartPolicy.max_attempts'),
});

const restartFromWire = (wire: Received<'RestartPolicy'>): RestartPolicy =>
  w.fields<RestartPolicy>({
    condition: restartConditionEnum.fromWire(wire.condition, 'RestartPolicy.condition'),
    maxAttempts: wire.maxAttempts ?? undefined,
  });

const imageFromWire = (wire: Received<'ResolvedImage'>): ResolvedImage => ({
  reference: w.name(wire.reference, 'ResolvedImage.reference'),
  digest: wire.digest,
});

export const templateToWire = (value: TaskTemplate): Sent<'TaskTemplate'> => ({
  image: { reference: value.image.reference, digest: value.image.digest },
  entrypoint: w.optionalList(value.entrypoint),
  command: w.optionalList(value.command),
  environment: w.sortedMap(value.environment),
  user: value.user ?? null,
  workingDir: value.workingDir ?? null,
  labels: w.sortedMap(value.labels),
  limits: limitsToWire(value.limits),
  reservations: resourcesToWire(value.reservations),
  stopGracePeriodMs: w.long(value.stopGracePeriodMs, 'TaskTemplate.stop_grace_period_ms'),
});

export const templateFromWire = (wire: Received<'TaskTemplate'>): TaskTemplate =>
  w.fields<TaskTemplate>({
    image: imageFromWire(w.required(wire.image, 'TaskTemplate.image')),
    entrypoint: w.fromOptionalList(wire.entrypoint),
    command: w.fromOptionalList(wire.command),
    environment: w.sortedMap(wire.environment),
    user: wire.user ?? undefined,
    workingDir: wire.workingDir ?? undefined,
    labels: w.sortedMap(wire.labels),
    limits: limitsFromWire(w.required(wire.limits, 'TaskTemplate.limits')),
    reservations: resourcesFromWire(w.required(wire.reservations, 'TaskTemplate.reservations')),
    stopGracePeriodMs: w.fromLong(wire.stopGracePeriodMs, 'TaskTemplate.stop_grace_period_ms'),
  });

const serviceSpecToWire = (value: ServiceSpec): Sent<'ServiceSpec'> => ({
  name: value.name,
  template: templateToWire(value.template),
  replicas: w.uint32(value.replicas, 'ServiceSpec.replicas'),
  restart: restartToWire(value.restart),
  ports: value.ports.map(portSpecToWire),
});

const serviceSpecFromWire = (wire: Received<'ServiceSpec'>): ServiceSpec => ({
  name: w.name(wire.name, 'ServiceSpec.name'),
  template: templateFromWire(w.required(wire.template, 'ServiceSpec.template')),
  replicas: wire.replicas,
  restart: restartFromWire(w.required(wire.restart, 'ServiceSpec.restart')),
  ports: wire.ports.map(portSpecFromWire),
});

export const stackSpecToWire = (value: StackSpec): Sent<'StackSpec'> => ({
  name: value.name,
  services: value.services.map(serviceSpecToWire),
});

export const stackSpecFromWire = (wire: Received<'StackSpec'>): StackSpec => ({
  name: w.name(wire.name, 'StackSpec.name'),
  services: wire.services.map(serviceSpecFromWire),
});

export const stackToWire = (value: Stack): Sent<'Stack'> => ({
  spec: stackSpecToWire(value.spec),
  version: w.uint32(value.version, 'Stack.version'),
  appliedAtMs: w.long(value.appliedAtMs, 'Stack.applied_at_ms'),
  appliedBy: value.appliedBy,
});

export const stackFromWire = (wire: Received<'Stack'>): Stack => ({
  spec: stackSpecFromWire(w.required(wire.spec, 'Stack.spec')),
  version: wire.version,
  appliedAtMs: w.fromLong(wire.appliedAtMs, 'Stack.applied_at_ms'),
  appliedBy: wire.appliedBy,
});

export const serviceToWire = (value: Service): Sent<'Service'> => ({
  stack: value.stack,
  name: value.name,
  vip: value.vip,
  ports: value.ports.map(publishedPortToWire),
});

export const serviceFromWire = (wire: Received<'Service'>): Service => ({
  stack: w.name(wire.stack, 'Service.stack'),
  name: w.name(wire.name, 'Service.name'),
  vip: w.name(wire.vip, 'Service.vip'),
  ports: wire.ports.map(publishedPortFromWire),
});
