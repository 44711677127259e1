/** Manifests and indexes (image-spec manifest.md, image-index.md): JSON from a registry, checked, as data. */
import { FrotaError } from '../base/errors.ts';
import { checkDigest } from './digest.ts';
import { isIndexType, isManifestType, isObsoleteManifestType } from './media-types.ts';
import { bestForPlatform, formatPlatform } from './platform.ts';
import type { Platform } from './platform.ts';

/** What points to a blob: its type, digest and length in bytes. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface ImageManifest {
  readonly kind: 'manifest';
  readonly config: Descriptor;
  /** Lowest first. */
  readonly layers: readonly Descriptor[];
}

export interface ImageIndex {
  readonly kind: 'index';
  readonly manifests: readonly (Descriptor & { readonly platform?: Platform })[];
}

/** The size limit of registries and clients alike (distribution-spec: "at least 4 megabytes"). */
export const maxManifestBytes = 4 * 1024 * 1024;
/** Attestations and odd architectures included, the largest official images list some 30. */
const maxIndexEntries = 1_000;
/** Far above any image that could be mounted; the exact limit is the unpacker's. */
const maxManifestLayers = 10_000;
/** Platforms named in a message, at most. */
const maxNamedPlatforms = 12;

/**
 * Reads a manifest or index. `where` names it in messages, e.g. `registry/app:1 (sha256:…)`.
 * @throws FrotaError `unsupported` (another kind of manifest), `corrupt` (malformed).
 */
export function parseManifest(bytes: Uint8Array, mediaType: string, where: string): ImageManifest | ImageIndex {
  const json = parseObject(bytes, where);
  const type = isIndexType(mediaType) || isManifestType(mediaType) ? mediaType : stringOr(json.mediaType, mediaType);
  if (isObsoleteManifestType(type) || json.schemaVersion === 1) {
    throw new FrotaError(
      'unsupported',
      `${where} has a manifest of Docker's first format (schema 1), which is obsolete; build or push the image anew`,
    );
  }
  if (json.schemaVersion !== 2) {
    throw new FrotaError(
      'corrupt',
      `${where}: the manifest's schemaVersion is ${JSON.stringify(json.schemaVersion)}, not 2`,
    );
  }
  if (isIndexType(type) || (!isManifestType(type) && Array.isArray(json.manifests))) return parseIndex(json, where);
  if (isManifestType(type) || (json.config !== undefined && Array.isArray(json.layers))) return parseImage(json, where);
  throw new FrotaError('unsupported', `${where} is not a container image: its manifest is of type "${type}"`);
}

/**
 * The manifest of `index` for `host`.
 * @throws FrotaError `unsupported`: `…: has no image for linux/amd64; it has linux/arm64`.
 */
export function selectManifest(index: ImageIndex, host: Platform, where: string): Descriptor {
  const candidates = index.manifests.flatMap((entry) =>
    entry.platform === undefined ? [] : [{ ...entry, platform: entry.platform }],
  );
  const best = bestForPlatform(host, candidates);
  if (best !== undefined) return best;
  // Attestations are listed as images for `unknown/unknown`.
  const offered = [...new Set(candidates.map(({ platform }) => formatPlatform(platform)))].filter(
    (name) => !name.startsWith('unknown/'),
  );
  throw new FrotaError(
    'unsupported',
    `${where} has no image for ${formatPlatform(host)}; ${
      offered.length === 0 ? 'it names no platform at all' : `it has ${offered.slice(0, maxNamedPlatforms).join(', ')}`
    }`,
  );
}

function parseIndex(json: Record<string, unknown>, where: string): ImageIndex {
  const entries = listOf(json.manifests, `${where}: manifests`, maxIndexEntries);
  const manifests = entries.map((entry, position) => {
    const place = `${where}: manifests[${String(position)}]`;
    const platform = parsePlatform(objectOr(entry, place).platform);
    return { ...parseDescriptor(entry, place), ...(platform === undefined ? {} : { platform }) };
  });
  return { kind: 'index', manifests };
}

function parseImage(json: Record<string, unknown>, where: string): ImageManifest {
  const layers = listOf(json.layers, `${where}: layers`, maxManifestLayers);
  return {
    kind: 'manifest',
    config: parseDescriptor(json.config, `${where}: config`),
    layers: layers.map((layer, position) => parseDescriptor(layer, `${where}: layers[${String(position)}]`)),
  };
}

function parseDescriptor(value: unknown, where: string): Descriptor {
  const { mediaType, digest, size } = objectOr(value, where);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw new FrotaError('corrupt', `${where}: ${JSON.stringify(size ?? null)} is not a size in bytes`);
  }
  return { mediaType: stringOr(mediaType, ''), digest: checkDigest(digest, where), size };
}

function parsePlatform(value: unknown): Platform | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { os, architecture, variant } = value as Record<string, unknown>;
  if (typeof os !== 'string' || typeof architecture !== 'string') return undefined;
  return { os, architecture, ...(typeof variant === 'string' && variant !== '' ? { variant } : {}) };
}

/** @throws FrotaError `corrupt` when `bytes` is not a JSON object. */
export function parseObject(bytes: Uint8Array, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw new FrotaError('corrupt', `${where} is not JSON`, { cause: error });
  }
  return objectOr(value, where);
}

function objectOr(value: unknown, where: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new FrotaError('corrupt', `${where} is not a JSON object`);
}

function listOf(value: unknown, where: string, limit: number): readonly unknown[] {
  if (!Array.isArray(value)) throw new FrotaError('corrupt', `${where} is not a list`);
  if (value.length > limit) {
    throw new FrotaError('exhausted', `${where} has ${String(value.length)} entries; the limit is ${String(limit)}`);
  }
  return value;
}

const stringOr = (value: unknown, otherwise: string): string => (typeof value === 'string' ? value : otherwise);
