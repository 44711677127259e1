/** What a container is made of, as bytes: templates, their mounts, files, networks and health checks. */
import { unreachable } from '../base/assert.ts';
import { FrotaError } from '../base/errors.ts';
import type { HealthCheck } from '../domain/health.ts';
import type { FileMount, Mount } from '../domain/mount.ts';
import type { ResourceLimits, Resources } from '../domain/resources.ts';
import type { ResolvedImage, TaskTemplate } from '../domain/service.ts';
import type { NetworkAttachment } from '../domain/stack-parts.ts';
import { contentKindEnum } from './enums.ts';
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

const healthCheckToWire = (value: HealthCheck): Sent<'HealthCheck'> => ({
  test: w.optionalList(value.test),
  intervalMs: w.optionalLong(value.intervalMs, 'HealthCheck.interval_ms'),
  timeoutMs: w.optionalLong(value.timeoutMs, 'HealthCheck.timeout_ms'),
  retries: w.optionalUint32(value.retries, 'HealthCheck.retries'),
  startPeriodMs: w.optionalLong(value.startPeriodMs, 'HealthCheck.start_period_ms'),
  startIntervalMs: w.optionalLong(value.startIntervalMs, 'HealthCheck.start_interval_ms'),
});

const healthCheckFromWire = (wire: Received<'HealthCheck'>): HealthCheck =>
  w.fields<HealthCheck>({
    test: w.fromOptionalList(wire.test),
    intervalMs: w.fromOptionalLong(wire.intervalMs, 'HealthCheck.interval_ms'),
    timeoutMs: w.fromOptionalLong(wire.timeoutMs, 'HealthCheck.timeout_ms'),
    retries: wire.retries ?? undefined,
    startPeriodMs: w.fromOptionalLong(wire.startPeriodMs, 'HealthCheck.start_period_ms'),
    startIntervalMs: w.fromOptionalLong(wire.startIntervalMs, 'HealthCheck.start_interval_ms'),
  });

function mountToWire(value: Mount): Sent<'Mount'> {
  const none = { volume: null, bind: null, tmpfs: null };
  switch (value.kind) {
    case 'volume': {
      const { target, readOnly, noCopy } = value;
      const volume = { volume: value.volume ?? null, target, readOnly, noCopy, subpath: value.subpath ?? null };
      return { ...none, volume };
    }
    case 'bind': {
      const { source, target, readOnly, createSource } = value;
      return { ...none, bind: { source, target, readOnly, createSource } };
    }
    case 'tmpfs': {
      const sizeBytes = w.optionalLong(value.sizeBytes, 'TmpfsMount.size_bytes');
      const mode = w.optionalUint32(value.mode, 'TmpfsMount.mode');
      return { ...none, tmpfs: { target: value.target, readOnly: value.readOnly, sizeBytes, mode } };
    }
    default:
      return unreachable(value);
  }
}

function mountFromWire({ volume, bind, tmpfs }: Received<'Mount'>): Mount {
  if (volume !== null) {
    return w.fields<Extract<Mount, { kind: 'volume' }>>({
      kind: 'volume',
      volume: volume.volume ?? undefined,
      target: w.name(volume.target, 'VolumeMount.target'),
      readOnly: volume.readOnly,
      noCopy: volume.noCopy,
      subpath: volume.subpath ?? undefined,
    });
  }
  if (bind !== null) {
    return {
      kind: 'bind',
      source: w.name(bind.source, 'BindMount.source'),
      target: w.name(bind.target, 'BindMount.target'),
      readOnly: bind.readOnly,
      createSource: bind.createSource,
    };
  }
  if (tmpfs !== null) {
    return w.fields<Extract<Mount, { kind: 'tmpfs' }>>({
      kind: 'tmpfs',
      target: w.name(tmpfs.target, 'TmpfsMount.target'),
      readOnly: tmpfs.readOnly,
      sizeBytes: w.fromOptionalLong(tmpfs.sizeBytes, 'TmpfsMount.size_bytes'),
      mode: tmpfs.mode ?? undefined,
    });
  }
  throw new FrotaError('corrupt', 'Mount.content is missing or of a later version');
}

const fileMountToWire = (value: FileMount): Sent<'FileMount'> => ({
  kind: contentKindEnum.toWire(value.kind),
  name: value.name,
  contentId: value.contentId,
  target: value.target,
  uid: w.optionalUint32(value.uid, 'FileMount.uid'),
  gid: w.optionalUint32(value.gid, 'FileMount.gid'),
  mode: w.optionalUint32(value.mode, 'FileMount.mode'),
});

const fileMountFromWire = (wire: Received<'FileMount'>): FileMount =>
  w.fields<FileMount>({
    kind: contentKindEnum.fromWire(wire.kind, 'FileMount.kind'),
    name: w.name(wire.name, 'FileMount.name'),
    contentId: wire.contentId,
    target: w.name(wire.target, 'FileMount.target'),
    uid: wire.uid ?? undefined,
    gid: wire.gid ?? undefined,
    mode: wire.mode ?? undefined,
  });

export const attachmentToWire = ({ network, aliases }: NetworkAttachment): Sent<'NetworkAttachment'> => ({
  network,
  aliases: [...aliases],
});

export const attachmentFromWire = (wire: Received<'NetworkAttachment'>): NetworkAttachment => ({
  network: w.name(wire.network, 'NetworkAttachment.network'),
  aliases: wire.aliases,
});

export const imageToWire = ({ reference, digest }: ResolvedImage): Sent<'ResolvedImage'> => ({ reference, digest });

export const imageFromWire = (wire: Received<'ResolvedImage'>): ResolvedImage => ({
  reference: w.name(wire.reference, 'ResolvedImage.reference'),
  digest: wire.digest,
});

export const templateToWire = (value: TaskTemplate): Sent<'TaskTemplate'> => ({
  image: imageToWire(value.image),
  entrypoint: w.optionalList(value.entrypoint),
  command: w.optionalList(value.command),
  environment: w.sortedMap(value.environment),
  user: value.user ?? null,
  workingDir: value.workingDir ?? null,
  labels: w.sortedMap(value.labels),
  limits: limitsToWire(value.limits),
  reservations: resourcesToWire(value.reservations),
  stopSignal: value.stopSignal ?? null,
  stopGracePeriodMs: w.long(value.stopGracePeriodMs, 'TaskTemplate.stop_grace_period_ms'),
  drainDelayMs: w.long(value.drainDelayMs, 'TaskTemplate.drain_delay_ms'),
  healthCheck: value.healthCheck === undefined ? null : healthCheckToWire(value.healthCheck),
  mounts: value.mounts.map(mountToWire),
  files: value.files.map(fileMountToWire),
  networks: value.networks.map(attachmentToWire),
  fenceLeaseMs: w.optionalLong(value.fenceLeaseMs, 'TaskTemplate.fence_lease_ms'),
  generation: w.uint32(value.generation, 'TaskTemplate.generation'),
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
    stopSignal: wire.stopSignal ?? undefined,
    stopGracePeriodMs: w.fromLong(wire.stopGracePeriodMs, 'TaskTemplate.stop_grace_period_ms'),
    drainDelayMs: w.fromLong(wire.drainDelayMs, 'TaskTemplate.drain_delay_ms'),
    healthCheck: w.optional(wire.healthCheck, healthCheckFromWire),
    mounts: wire.mounts.map(mountFromWire),
    files: wire.files.map(fileMountFromWire),
    networks: wire.networks.map(attachmentFromWire),
    fenceLeaseMs: w.fromOptionalLong(wire.fenceLeaseMs, 'TaskTemplate.fence_lease_ms'),
    generation: wire.generation,
  });
