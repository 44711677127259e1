/** Writes OCI image layouts (image-spec image-layout.md) for the example's images. The same input gives the same digests. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack, type Pack } from 'tar-stream';

/** Something in a layer. A file's bytes come from `source` on this machine, or are given. */
export type LayerEntry =
  | { readonly kind: 'folder'; readonly path: string; readonly mode?: number }
  | { readonly kind: 'copy'; readonly path: string; readonly source: string; readonly mode: number }
  | { readonly kind: 'text'; readonly path: string; readonly content: string };

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface Layer extends Descriptor {
  /** Digest of the tar archive before compression. */
  readonly diffId: string;
}

export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly environment: readonly string[];
  readonly workingDir: string;
  readonly user: string;
}

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const indexType = 'application/vnd.oci.image.index.v1+json';
const configType = 'application/vnd.oci.image.config.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
/** Fixed, so that images made twice are equal. */
const entryTime = new Date(Date.UTC(2026, 0, 1));
/** The bytes go over a bridge of this machine: time counts, not size. */
const gzipLevel = 1;

const digestOf = (bytes: string | Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Packs, compresses and digests in one pass; the layout's folder gets the blob. */
export async function writeLayer(layout: string, entries: readonly LayerEntry[]): Promise<Layer> {
  await mkdir(join(layout, 'blobs/sha256'), { recursive: true });
  const archive = pack();
  const plain = createHash('sha256');
  const packed = createHash('sha256');
  const file = join(layout, 'layer.new');
  const written = pipeline(
    archive,
    hashing(plain),
    createGzip({ level: gzipLevel }),
    hashing(packed),
    createWriteStream(file),
  );
  const filled = fill(archive, entries).catch((error: unknown) => {
    archive.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  });
  await Promise.all([written, filled]);
  const hex = packed.digest('hex');
  const { size } = await stat(file);
  await rename(file, join(layout, 'blobs/sha256', hex));
  return { mediaType: layerType, digest: `sha256:${hex}`, size, diffId: `sha256:${plain.digest('hex')}` };
}

async function fill(archive: Pack, entries: readonly LayerEntry[]): Promise<void> {
  for (const entry of entries) {
    const header = { name: entry.path, mtime: entryTime, uid: 0, gid: 0 };
    if (entry.kind === 'folder') {
      archive.entry({ ...header, type: 'directory', mode: entry.mode ?? 0o755 });
    } else if (entry.kind === 'text') {
      archive.entry({ ...header, mode: 0o644 }, entry.content);
    } else {
      const { size } = await stat(entry.source);
      const sink = archive.entry({ ...header, mode: entry.mode, size });
      await pipeline(createReadStream(entry.source), new PassThrough(), sink);
    }
  }
  archive.finalize();
}

function hashing(hash: ReturnType<typeof createHash>): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
}

/** Adds an image with these layers, already in the layout, and makes it the layout's only one. Returns the manifest. */
export async function writeImage(
  layout: string,
  layers: readonly Layer[],
  config: ImageConfig,
  architecture: string,
): Promise<Descriptor> {
  const configBlob = await writeJson(layout, configType, {
    architecture,
    os: 'linux',
    created: entryTime.toISOString(),
    config: {
      Entrypoint: config.entrypoint,
      Env: config.environment,
      WorkingDir: config.workingDir,
      User: config.user,
    },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
  });
  const manifest = await writeJson(layout, manifestType, {
    schemaVersion: 2,
    mediaType: manifestType,
    config: configBlob,
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  });
  await writeFile(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const index = { schemaVersion: 2, mediaType: indexType, manifests: [manifest] };
  await writeFile(join(layout, 'index.json'), JSON.stringify(index));
  return manifest;
}

async function writeJson(layout: string, mediaType: string, value: object): Promise<Descriptor> {
  const text = JSON.stringify(value);
  const digest = digestOf(text);
  await writeFile(join(layout, 'blobs/sha256', digest.slice('sha256:'.length)), text);
  return { mediaType, digest, size: Buffer.byteLength(text) };
}
