/** The image config (image-spec config.md): what a container is made from, and which layers the image has. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { HealthCheck } from '../../proto/domain/health.ts';
import { checkDigest } from '../../proto/oci/digest.ts';
import { parseObject } from '../../proto/oci/manifest.ts';
import type { Platform } from '../../proto/oci/platform.ts';
import type { ImageConfig } from './images.ts';

export interface ImageDescription {
  readonly config: ImageConfig;
  readonly platform: Platform;
  /** Digests of the uncompressed layers, lowest first. */
  readonly diffIds: readonly string[];
}

/** @throws FrotaError `corrupt` naming `where` and the field. */
export function parseImageConfig(bytes: Uint8Array, where: string): ImageDescription {
  const json = parseObject(bytes, where);
  const rootfs = objectOrEmpty(json.rootfs, `${where}: rootfs`);
  const config = objectOrEmpty(json.config, `${where}: config`);
  const variant = text(json.variant, `${where}: variant`);
  const stopSignal = text(config.StopSignal, `${where}: StopSignal`);
  const shell = texts(config.Shell, `${where}: Shell`);
  const volumes = volumesOf(config.Volumes, `${where}: Volumes`);
  const healthCheck = healthCheckOf(config.Healthcheck, `${where}: Healthcheck`);
  return {
    config: {
      entrypoint: texts(config.Entrypoint, `${where}: Entrypoint`),
      command: texts(config.Cmd, `${where}: Cmd`),
      environment: texts(config.Env, `${where}: Env`),
      workingDir: text(config.WorkingDir, `${where}: WorkingDir`),
      user: text(config.User, `${where}: User`),
      ...(stopSignal === '' ? {} : { stopSignal }),
      ...(healthCheck === undefined ? {} : { healthCheck }),
      ...(shell.length === 0 ? {} : { shell }),
      ...(volumes.length === 0 ? {} : { volumes }),
    },
    platform: {
      os: text(json.os, `${where}: os`),
      architecture: text(json.architecture, `${where}: architecture`),
      ...(variant === '' ? {} : { variant }),
    },
    diffIds: texts(rootfs.diff_ids, `${where}: rootfs.diff_ids`).map((id) =>
      checkDigest(id, `${where}: rootfs.diff_ids`),
    ),
  };
}

/** A set of paths, written as an object with empty values. */
function volumesOf(value: unknown, where: string): readonly string[] {
  const paths = Object.keys(objectOrEmpty(value, where)).sort();
  const wrong = paths.find((path) => !/^\/+[^/]/.test(path) || path.includes('\0') || path.split('/').includes('..'));
  if (wrong === undefined) return paths;
  throw new FrotaError('corrupt', `${where} has ${JSON.stringify(wrong.slice(0, 80))}, which is no absolute path`);
}

const nanosecondsPerMs = 1e6;

/** As Docker writes it: durations in nanoseconds, 0 and empty for what the Dockerfile did not say. */
function healthCheckOf(value: unknown, where: string): HealthCheck | undefined {
  const json = objectOrEmpty(value, where);
  const test = texts(json.Test, `${where}.Test`);
  const retries = wholeNumber(json.Retries, `${where}.Retries`);
  const check: HealthCheck = {
    ...(test.length === 0 ? {} : { test }),
    ...duration('intervalMs', json.Interval, `${where}.Interval`),
    ...duration('timeoutMs', json.Timeout, `${where}.Timeout`),
    ...duration('startPeriodMs', json.StartPeriod, `${where}.StartPeriod`),
    ...duration('startIntervalMs', json.StartInterval, `${where}.StartInterval`),
    ...(retries === 0 ? {} : { retries }),
  };
  return Object.keys(check).length === 0 ? undefined : check;
}

function duration(key: Exclude<keyof HealthCheck, 'test'>, value: unknown, where: string): HealthCheck {
  const nanoseconds = wholeNumber(value, where);
  return nanoseconds === 0 ? {} : { [key]: Math.max(1, Math.round(nanoseconds / nanosecondsPerMs)) };
}

function wholeNumber(value: unknown, where: string): number {
  if (value === undefined || value === null) return 0;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value;
  throw new FrotaError('corrupt', `${where} is not a whole number from 0 on`);
}

/** Absent and null are the same in configs that Go programs write. */
function objectOrEmpty(value: unknown, where: string): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new FrotaError('corrupt', `${where} is not an object`);
}

function text(value: unknown, where: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string' && !value.includes('\0')) return value;
  throw new FrotaError('corrupt', `${where} is not text`);
}

function texts(value: unknown, where: string): readonly string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new FrotaError('corrupt', `${where} is not a list`);
  return value.map((item: unknown) => {
    if (typeof item === 'string' && !item.includes('\0')) return item;
    throw new FrotaError('corrupt', `${where} has an item that is not text`);
  });
}
