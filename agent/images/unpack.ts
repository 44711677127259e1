/** One verified layer blob into one directory: decompress, check the diff id, rewrite, GNU tar. Nothing durable yet. */
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { FrotaError } from '../../proto/base/errors.ts';
import { algorithmOf, hashFor } from '../../proto/oci/digest.ts';
import type { Compression } from '../../proto/oci/media-types.ts';
import { noRoom, RoomWatch } from '../host/room.ts';
import { LayerRewriter } from './layer-rewriter.ts';
import type { LayerReport } from './layer-rewriter.ts';
import type { ImageLimits } from './limits.ts';
import { missingProgram, sandboxFailed, startSandboxed } from './sandbox.ts';
import type { ImagePrograms, SandboxedChild } from './sandbox.ts';

export interface LayerToUnpack {
  readonly blobPath: string;
  readonly compression: Compression;
  /** Digest of the uncompressed archive, from the image's config. */
  readonly diffId: string;
  /** For messages: `layer sha256:… of registry/repository`. */
  readonly where: string;
  /** An empty directory; what is in it after a failure is the caller's to remove. */
  readonly targetDir: string;
}

export interface UnpackTools {
  readonly programs: ImagePrograms;
  readonly limits: ImageLimits;
  /** Whether igzip is there; node's zlib takes its place, at twice the CPU time. */
  readonly hasIgzip: boolean;
}

/** What unpacking as root needs, and no more; SYS_ADMIN only because `trusted.*` attributes ask for it. */
const tarCapabilities = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_MKNOD',
  'CAP_SETFCAP',
  'CAP_SYS_ADMIN',
] as const;

/**
 * Only these attributes are set: `trusted.overlay.redirect` and the like in a layer would steer overlayfs, and labels
 * of `security.selinux` or `security.ima` are another host's.
 */
const keptXattrs = ['user.*', 'security.capability', 'trusted.overlay.opaque'] as const;

const tarArgs: readonly string[] = [
  '-x',
  '-f',
  '-',
  '-C',
  '/out',
  '--numeric-owner',
  '--same-owner',
  '-p',
  '--xattrs',
  ...keptXattrs.map((name) => `--xattrs-include=${name}`),
  // Whiteouts come last and would change the times of directories restored before.
  '--delay-directory-restore',
  '--warning=no-timestamp',
  '--warning=no-unknown-keyword',
];

/** Read from files for zlib: larger pieces, fewer turns of the event loop. */
const readSize = 256 * 1024;

/**
 * @throws FrotaError `corrupt` (damaged, wrong diff id, hostile), `exhausted` (a limit, or the disk is full),
 * `unsupported` (a program is missing), `cancelled`; the message begins with `where`.
 */
export async function unpackLayer(layer: LayerToUnpack, tools: UnpackTools, signal: AbortSignal): Promise<LayerReport> {
  const file = await open(layer.blobPath, 'r');
  const children: SandboxedChild[] = [];
  const killAll = (): void => {
    for (const child of children) child.kill();
  };
  signal.addEventListener('abort', killAll, { once: true });
  try {
    if (signal.aborted) throw cancelled(layer);
    const source = openSource(file, layer, tools, children);
    const tar = startSandboxed(tools.programs, {
      program: 'tar',
      args: tarArgs,
      writableDir: layer.targetDir,
      capabilities: tarCapabilities,
      stdin: 'pipe',
    });
    children.push(tar);
    const room = new RoomWatch({
      folder: layer.targetDir,
      what: 'its files',
      keepFreeBytes: tools.limits.keepFreeBytes,
    });
    return await pump(layer, source, tar, { rewriter: new LayerRewriter(tools.limits), room });
  } catch (error) {
    if (signal.aborted) throw cancelled(layer);
    throw named(layer, error);
  } finally {
    signal.removeEventListener('abort', killAll);
    killAll();
    await Promise.allSettled(children.map((each) => each.ended));
    await file.close();
  }
}

/** The archive's bytes, and how its decompression ended. */
interface Source {
  readonly bytes: Readable;
  /** Resolves to the reason if the compressed bytes were bad. */
  readonly problem: () => Promise<string | undefined>;
}

function openSource(file: FileHandle, layer: LayerToUnpack, tools: UnpackTools, children: SandboxedChild[]): Source {
  const { compression } = layer;
  const program = compression === 'zstd' ? 'zstd' : compression === 'gzip' && tools.hasIgzip ? 'igzip' : undefined;
  if (program === undefined) {
    const bytes = file.createReadStream({ autoClose: false, highWaterMark: readSize });
    if (compression === 'none') return { bytes, problem: () => Promise.resolve(undefined) };
    let problem: string | undefined;
    const gunzip = createGunzip({ chunkSize: readSize });
    gunzip.on('error', (error) => (problem = error.message));
    bytes.on('error', (error) => gunzip.destroy(error));
    return { bytes: bytes.pipe(gunzip), problem: () => Promise.resolve(problem) };
  }
  const child = startSandboxed(tools.programs, { program, args: ['-d', '-c'], stdin: file.fd });
  children.push(child);
  return {
    bytes: child.stdout,
    problem: async () => {
      const { code, stderr } = await child.ended;
      if (sandboxFailed(stderr)) throw missingProgram(program, stderr);
      return code === 0 ? undefined : lastLine(stderr, `${program} ended with code ${String(code)}`);
    },
  };
}

async function pump(
  layer: LayerToUnpack,
  source: Source,
  tar: SandboxedChild,
  { rewriter, room }: { readonly rewriter: LayerRewriter; readonly room: RoomWatch },
): Promise<LayerReport> {
  const hash = hashFor(layer.diffId);
  const input = tar.stdin;
  if (input === null) throw new FrotaError('internal', 'tar without standard input');
  let isWhole = false;
  let damage: Error | undefined;
  try {
    for await (const chunk of source.bytes) {
      hash.update(chunk as Buffer);
      await room.written((chunk as Buffer).length);
      if (!(await write(input, tar, rewriter.push(chunk as Buffer)))) break;
    }
    isWhole = source.bytes.readableEnded;
    if (isWhole) await write(input, tar, rewriter.end());
  } catch (error) {
    damage = error instanceof Error ? error : FrotaError.from(error);
  }
  // What is cut short or not zlib's is the decompressor's to say; it only can after it was read to its end.
  if (isWhole || (damage !== undefined && !(damage instanceof FrotaError))) {
    const bad = await source.problem();
    if (bad !== undefined) throw new FrotaError('corrupt', `it can't be decompressed: ${bad}`);
  }
  if (damage !== undefined) throw damage;
  input.end();
  const { code, stderr } = await tar.ended;
  await checkTar(code, stderr, layer.targetDir);
  const diffId = `${algorithmOf(layer.diffId)}:${hash.digest('hex')}`;
  if (diffId !== layer.diffId) {
    throw new FrotaError('corrupt', `its diff id is ${diffId}, but the image's config says ${layer.diffId}`);
  }
  return rewriter.report();
}

/** False when tar is no longer there to read. */
async function write(input: Writable, tar: SandboxedChild, bytes: Buffer): Promise<boolean> {
  if (tarIsOver(tar) || input.destroyed) return false;
  if (bytes.length === 0 || input.write(bytes)) return true;
  const settled = new AbortController();
  try {
    await Promise.race([once(input, 'drain', { signal: settled.signal }), tar.ended]);
  } finally {
    settled.abort();
  }
  return !tarIsOver(tar);
}

const tarIsOver = ({ child }: SandboxedChild): boolean => child.exitCode !== null || child.signalCode !== null;

async function checkTar(code: number | null, stderr: string, dir: string): Promise<void> {
  if (sandboxFailed(stderr)) throw missingProgram('tar', stderr);
  if (fullInTarsWords.test(stderr)) throw await noRoom('its files', dir, { cause: firstLine(stderr) });
  if (code !== 0) throw new FrotaError('corrupt', `tar refused it: ${firstLine(stderr)}`);
  // tar only warns when a file system can't keep attributes; without them programs lose their capabilities, and opaque
  // directories show what they should hide.
  const lost = /^.*Cannot set '(?:security|trusted)\..*$/m.exec(stderr);
  if (lost !== null) throw new FrotaError('unsupported', `the data folder's file system loses attributes: ${lost[0]}`);
}

/** tar names no code; a write that took less than it was given is what a full disk does first. */
const fullInTarsWords = /No space left on device|Disk quota exceeded|: Wrote only \d+ of \d+ bytes/;

function named(layer: LayerToUnpack, error: unknown): FrotaError {
  const cause = FrotaError.from(error);
  return new FrotaError(cause.code, `${layer.where} can't be unpacked: ${cause.message}`, { cause });
}

const cancelled = (layer: LayerToUnpack): FrotaError =>
  new FrotaError('cancelled', `the unpacking of ${layer.where} was cancelled`);

const firstLine = (text: string): string => text.trim().split('\n', 1)[0] ?? '';
const lastLine = (text: string, otherwise: string): string => text.trim().split('\n').at(-1) || otherwise;
