/** Builds OCI image layouts (image-spec image-layout.md) on disk, right or wrong on purpose, without any image tool. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

/** Common to all kinds of entries. `mode` is octal permission bits with setuid, setgid and sticky; `mtime` is in ms. */
interface EntryBase {
  readonly path: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtimeMs?: number;
  /** Name → raw value, written as PAX `SCHILY.xattr.NAME` (values are text: PAX records are UTF-8). */
  readonly xattrs?: Readonly<Record<string, string>>;
}

export type LayerEntry =
  | (EntryBase & { readonly type: 'file'; readonly content: string | Buffer })
  | (EntryBase & { readonly type: 'directory' })
  | (EntryBase & { readonly type: 'symlink'; readonly target: string })
  | (EntryBase & { readonly type: 'hardlink'; readonly target: string })
  | (EntryBase & { readonly type: 'character-device' | 'block-device'; readonly major: number; readonly minor: number })
  | (EntryBase & { readonly type: 'fifo' })
  /** Removes `path` of the layers below. */
  | (EntryBase & { readonly type: 'whiteout' })
  /** Hides what the layers below have in the directory `path`; say the directory itself with its own entry. */
  | (EntryBase & { readonly type: 'opaque' });

export type Compression = 'gzip' | 'zstd' | 'none';

/** A layer: entries, or the bytes of a tar archive as they are. */
export type LayerSource = (
  | { readonly entries: readonly LayerEntry[] }
  | { readonly tar: Buffer }
  /** Compressed bytes and their diff id as they are; nothing is checked. */
  | { readonly blob: Buffer; readonly diffId: string }
) & { readonly compression?: Compression; readonly mediaType?: string };

export interface ImageConfigSource {
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: readonly string[];
  readonly workingDir?: string;
  readonly user?: string;
  readonly stopSignal?: string;
  /** As Docker writes it, durations in nanoseconds. */
  readonly healthcheck?: Readonly<Record<string, unknown>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly exposedPorts?: readonly string[];
}

export interface PlatformSource {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

export interface ImageSource {
  readonly layers: readonly LayerSource[];
  readonly config?: ImageConfigSource;
  /** Default: linux on this machine's architecture. */
  readonly platform?: PlatformSource;
  /** What to say wrongly; the layout stays well-formed. */
  readonly wrong?: {
    /** Index of the layer whose diff id in the config is another one's. */
    readonly diffIdOf?: number;
    /** The config lists one diff id less than the manifest has layers. */
    readonly missingDiffId?: boolean;
    /** Index of the layer whose size in the manifest is one byte too large. */
    readonly sizeOf?: number;
  };
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export interface BuiltImage {
  /** The layout's folder. */
  readonly dir: string;
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly (Descriptor & { readonly diffId: string })[];
  readonly platform: PlatformSource;
}

const ociManifest = 'application/vnd.oci.image.manifest.v1+json';
const ociIndex = 'application/vnd.oci.image.index.v1+json';
const ociConfig = 'application/vnd.oci.image.config.v1+json';
const ociLayer = 'application/vnd.oci.image.layer.v1.tar';
const layerSuffix: Record<Compression, string> = { gzip: '+gzip', zstd: '+zstd', none: '' };

/** The time all entries carry unless they say otherwise: images built twice have equal digests. */
const defaultMtimeMs = Date.UTC(2026, 0, 2, 3, 4, 5);
const maxProgramOutput = 1024 * 1024 * 1024;

export const sha256 = (bytes: Uint8Array | string): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** This machine as OCI names it. */
export const hostPlatform = (): PlatformSource => ({
  os: 'linux',
  architecture: ({ x64: 'amd64', ia32: '386' } as Record<string, string>)[process.arch] ?? process.arch,
});

/** A platform that this machine is not. */
export const foreignPlatform = (): PlatformSource => ({
  os: 'linux',
  architecture: hostPlatform().architecture === 'arm64' ? 'amd64' : 'arm64',
});

/** Writes an image layout with one manifest (its `index.json` lists it) into `dir`, which is made if it is missing. */
export async function writeImage(dir: string, source: ImageSource): Promise<BuiltImage> {
  const image = await writeImageBlobs(dir, source);
  await writeLayoutFiles(dir, [{ ...image.manifest, platform: image.platform }]);
  return image;
}

/** Writes an image layout whose single manifest is an index of several images, one per platform. */
export async function writeMultiPlatformImage(
  dir: string,
  sources: readonly ImageSource[],
): Promise<{ readonly dir: string; readonly index: Descriptor; readonly images: readonly BuiltImage[] }> {
  const images: BuiltImage[] = [];
  for (const source of sources) images.push(await writeImageBlobs(dir, source));
  const manifests = images.map((image) => ({ ...image.manifest, platform: image.platform }));
  const index = await writeJsonBlob(dir, ociIndex, { schemaVersion: 2, mediaType: ociIndex, manifests });
  await writeLayoutFiles(dir, [index]);
  return { dir, index, images };
}

/** The busybox of the host (static, Debian `busybox-static`) with its applets, accounts and the usual folders. */
export async function busyboxImage(
  dir: string,
  options: {
    readonly config?: ImageConfigSource;
    readonly extraLayers?: readonly LayerSource[];
    readonly platform?: PlatformSource;
  } = {},
): Promise<BuiltImage> {
  return writeImage(dir, {
    layers: [{ entries: await busyboxEntries() }, ...(options.extraLayers ?? [])],
    config: {
      command: ['sh'],
      environment: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      ...options.config,
    },
    ...(options.platform === undefined ? {} : { platform: options.platform }),
  });
}

export async function busyboxEntries(): Promise<readonly LayerEntry[]> {
  const program = '/bin/busybox';
  const { stdout } = await promisify(execFile)(program, ['--list']);
  const applets = stdout.split('\n').filter((name) => name !== '' && name !== 'busybox');
  const folders = ['bin', 'dev', 'etc', 'home', 'proc', 'root', 'run', 'sys', 'usr', 'usr/bin', 'var', 'var/log'];
  return [
    ...folders.map((path): LayerEntry => ({ type: 'directory', path, mode: path === 'root' ? 0o700 : 0o755 })),
    { type: 'directory', path: 'tmp', mode: 0o1777 },
    { type: 'file', path: 'bin/busybox', mode: 0o755, content: await readFile(program) },
    ...applets.map((name): LayerEntry => ({ type: 'symlink', path: `bin/${name}`, target: 'busybox' })),
    {
      type: 'file',
      path: 'etc/passwd',
      content:
        'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\napp:x:1000:1000:app:/home:/bin/sh\n',
    },
    { type: 'file', path: 'etc/group', content: 'root:x:0:\nnogroup:x:65534:\napp:x:1000:\n' },
  ];
}

/** A tar archive of `entries`, in their order. */
export async function tarOf(entries: readonly LayerEntry[]): Promise<Buffer> {
  const archive = pack();
  const collected = (async () => {
    const chunks: Buffer[] = [];
    for await (const chunk of archive) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  })();
  for (const entry of entries) {
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error | null): void => {
        if (error) reject(error);
        else resolve();
      };
      archive.entry(...tarEntry(entry), done);
    });
  }
  archive.finalize();
  return collected;
}

type TarHeader = Parameters<ReturnType<typeof pack>['entry']>[0];

function tarEntry(entry: LayerEntry): [TarHeader, string | Buffer] {
  const { path, uid = 0, gid = 0 } = entry;
  const base = {
    name: path,
    uid,
    gid,
    mode: entry.mode ?? (entry.type === 'directory' ? 0o755 : 0o644),
    mtime: new Date(entry.mtimeMs ?? defaultMtimeMs),
    ...(entry.xattrs === undefined ? {} : { pax: xattrRecords(entry.xattrs) }),
  };
  const slash = path.lastIndexOf('/') + 1;
  switch (entry.type) {
    case 'file':
      return [{ ...base, type: 'file', size: Buffer.byteLength(entry.content) }, entry.content];
    case 'symlink':
      return [{ ...base, type: 'symlink', linkname: entry.target, mode: 0o777 }, ''];
    case 'hardlink':
      return [{ ...base, type: 'link', linkname: entry.target }, ''];
    case 'character-device':
    case 'block-device':
      return [{ ...base, type: entry.type, devmajor: entry.major, devminor: entry.minor }, ''];
    case 'whiteout':
      return [{ ...base, type: 'file', name: `${path.slice(0, slash)}.wh.${path.slice(slash)}`, size: 0 }, ''];
    case 'opaque':
      return [{ ...base, type: 'file', name: `${path}/.wh..wh..opq`, size: 0 }, ''];
    case 'directory':
    case 'fifo':
      return [{ ...base, type: entry.type }, ''];
  }
}

function xattrRecords(xattrs: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(xattrs).map(([name, value]) => [`SCHILY.xattr.${name}`, value]));
}

async function writeImageBlobs(dir: string, source: ImageSource): Promise<BuiltImage> {
  const layers: (Descriptor & { diffId: string })[] = [];
  for (const layer of source.layers) layers.push(await writeLayer(dir, layer));
  const diffIds = layers.map((layer) => layer.diffId);
  const { wrong = {}, config = {}, platform = hostPlatform() } = source;
  if (wrong.diffIdOf !== undefined) diffIds[wrong.diffIdOf] = sha256('another layer');
  if (wrong.missingDiffId === true) diffIds.pop();
  const configBlob = await writeJsonBlob(dir, ociConfig, {
    ...platform,
    created: new Date(defaultMtimeMs).toISOString(),
    config: {
      Entrypoint: config.entrypoint,
      Cmd: config.command,
      Env: config.environment,
      WorkingDir: config.workingDir,
      User: config.user,
      StopSignal: config.stopSignal,
      Healthcheck: config.healthcheck,
      Labels: config.labels,
      ...(config.exposedPorts === undefined
        ? {}
        : { ExposedPorts: Object.fromEntries(config.exposedPorts.map((port) => [port, {}])) }),
    },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: layers.map((_layer, index) => ({ created_by: `layer ${String(index)}` })),
  });
  const manifest = await writeJsonBlob(dir, ociManifest, {
    schemaVersion: 2,
    mediaType: ociManifest,
    config: configBlob,
    layers: layers.map(({ mediaType, digest, size }, index) => ({
      mediaType,
      digest,
      size: index === wrong.sizeOf ? size + 1 : size,
    })),
  });
  return { dir, manifest, config: configBlob, layers, platform };
}

async function writeLayer(dir: string, source: LayerSource): Promise<Descriptor & { diffId: string }> {
  const compression = source.compression ?? 'gzip';
  const mediaType = source.mediaType ?? `${ociLayer}${layerSuffix[compression]}`;
  if ('blob' in source) return { ...(await writeBlob(dir, mediaType, source.blob)), diffId: source.diffId };
  const tar = 'tar' in source ? source.tar : await tarOf(source.entries);
  return { ...(await writeBlob(dir, mediaType, await compress(tar, compression))), diffId: sha256(tar) };
}

export async function compress(bytes: Buffer, compression: Compression): Promise<Buffer> {
  if (compression === 'none') return bytes;
  // Level 1: tests wait for it.
  if (compression === 'gzip') return gzipSync(bytes, { level: 1 });
  const options = { encoding: 'buffer', maxBuffer: maxProgramOutput } as const;
  const compressing = promisify(execFile)('zstd', ['-q', '-c'], options);
  compressing.child.stdin?.end(bytes);
  return (await compressing).stdout;
}

async function writeJsonBlob(dir: string, mediaType: string, value: unknown): Promise<Descriptor> {
  return writeBlob(dir, mediaType, Buffer.from(JSON.stringify(value)));
}

async function writeBlob(dir: string, mediaType: string, bytes: Buffer): Promise<Descriptor> {
  const digest = sha256(bytes);
  const folder = join(dir, 'blobs', 'sha256');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, digest.slice('sha256:'.length)), bytes);
  return { mediaType, digest, size: bytes.length };
}

async function writeLayoutFiles(dir: string, manifests: readonly object[]): Promise<void> {
  await writeFile(join(dir, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  await writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
}
