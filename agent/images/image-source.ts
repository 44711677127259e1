/** What the registry says an image is: its manifest for this platform and its config, checked before any layer is fetched. */
import { FrotaError } from '../../proto/base/errors.ts';
import { parseManifest, selectManifest } from '../../proto/oci/manifest.ts';
import type { Descriptor, ImageManifest } from '../../proto/oci/manifest.ts';
import { isImageConfigType } from '../../proto/oci/media-types.ts';
import { formatPlatform, platformFits } from '../../proto/oci/platform.ts';
import type { Platform } from '../../proto/oci/platform.ts';
import { digestOf, algorithmOf } from '../../proto/oci/digest.ts';
import { formatReference } from '../../proto/oci/reference.ts';
import type { ImageReference } from '../../proto/oci/reference.ts';
import type { RegistryClient } from '../../proto/oci/registry-client.ts';
import { parseImageConfig } from './image-config.ts';
import type { ImageDescription } from './image-config.ts';
import { checkLayer } from './layer-pull.ts';
import type { ImageLimits } from './limits.ts';

/** A reference to exactly one manifest or index. */
export type PinnedReference = ImageReference & { readonly digest: string };

export interface FetchedImage {
  readonly manifestDigest: string;
  readonly configDigest: string;
  /** Lowest first, as many as `description.diffIds`. */
  readonly layers: readonly Descriptor[];
  readonly description: ImageDescription;
  /** Index, manifest and config by digest, to be kept once the image is complete. */
  readonly documents: ReadonlyMap<string, Buffer>;
}

export interface ImageSourceParts {
  readonly client: RegistryClient;
  readonly platform: Platform;
  readonly limits: ImageLimits;
}

/** @throws FrotaError, see `Images.ensure`. */
export async function fetchImage(
  parts: ImageSourceParts,
  reference: PinnedReference,
  signal: AbortSignal,
): Promise<FetchedImage> {
  const documents = new Map<string, Buffer>();
  const { manifest, digest } = await fetchManifest(parts, reference, documents, signal);
  checkManifest(parts, reference, manifest);
  const bytes = await fetchConfig(parts, reference, manifest.config, signal);
  documents.set(manifest.config.digest, bytes);
  const description = parseImageConfig(bytes, configWhere(reference));
  checkDescription(parts, reference, manifest, description);
  return {
    manifestDigest: digest,
    configDigest: manifest.config.digest,
    layers: manifest.layers,
    description,
    documents,
  };
}

export const configWhere = (reference: ImageReference): string => `the config of ${formatReference(reference)}`;

async function fetchManifest(
  { client, platform }: ImageSourceParts,
  reference: PinnedReference,
  documents: Map<string, Buffer>,
  signal: AbortSignal,
): Promise<{ manifest: ImageManifest; digest: string }> {
  const where = formatReference(reference);
  const read = async (digest: string): Promise<ReturnType<typeof parseManifest>> => {
    const { bytes, mediaType } = await client.getManifest({ ...reference, digest }, { signal });
    documents.set(digest, bytes);
    return parseManifest(bytes, mediaType, where);
  };
  const top = await read(reference.digest);
  if (top.kind === 'manifest') return { manifest: top, digest: reference.digest };
  const { digest } = selectManifest(top, platform, where);
  const manifest = await read(digest);
  if (manifest.kind === 'manifest') return { manifest, digest };
  throw new FrotaError('unsupported', `${where} is an index of indexes; name one of the inner ones by its digest`);
}

async function fetchConfig(
  { client }: ImageSourceParts,
  reference: PinnedReference,
  config: Descriptor,
  signal: AbortSignal,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of client.readBlob(reference, config, { signal })) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const actual = digestOf(bytes, algorithmOf(config.digest));
  if (actual === config.digest) return bytes;
  throw new FrotaError(
    'corrupt',
    `${configWhere(reference)}, ${config.digest}, has other contents than its digest says: they are ${actual}; push the image again`,
  );
}

function checkManifest(
  { limits }: ImageSourceParts,
  reference: PinnedReference,
  { config, layers }: ImageManifest,
): void {
  const name = formatReference(reference);
  if (!isImageConfigType(config.mediaType)) {
    throw new FrotaError(
      'unsupported',
      `${name} is not a container image: its config is of type "${config.mediaType}"`,
    );
  }
  if (layers.length > limits.maxLayers) {
    const [has, limit] = [String(layers.length), String(limits.maxLayers)];
    throw new FrotaError('exhausted', `${name} has ${has} layers; overlayfs takes ${limit} at the most`);
  }
  if (config.size > limits.maxConfigBytes) {
    throw new FrotaError(
      'exhausted',
      `${configWhere(reference)} is larger than ${String(limits.maxConfigBytes)} bytes`,
    );
  }
  for (const layer of layers) checkLayer(reference, layer, limits);
}

function checkDescription(
  { platform }: ImageSourceParts,
  reference: PinnedReference,
  { layers }: ImageManifest,
  { platform: built, diffIds }: ImageDescription,
): void {
  if (!platformFits(platform, built)) {
    const [its, mine] = [formatPlatform(built), formatPlatform(platform)];
    throw new FrotaError('unsupported', `${formatReference(reference)} is an image for ${its}; this node runs ${mine}`);
  }
  if (diffIds.length !== layers.length) {
    const [ids, count] = [String(diffIds.length), String(layers.length)];
    throw new FrotaError('corrupt', `${configWhere(reference)} lists ${ids} layers, the manifest ${count}`);
  }
}
