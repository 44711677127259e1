/** The image config (image-spec config.md): what a container is made from, and which layers the image has. */
import { FrotaError } from '../../proto/base/errors.ts';
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
  return {
    config: {
      entrypoint: texts(config.Entrypoint, `${where}: Entrypoint`),
      command: texts(config.Cmd, `${where}: Cmd`),
      environment: texts(config.Env, `${where}: Env`),
      workingDir: text(config.WorkingDir, `${where}: WorkingDir`),
      user: text(config.User, `${where}: User`),
      ...(stopSignal === '' ? {} : { stopSignal }),
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
