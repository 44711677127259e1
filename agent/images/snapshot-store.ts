/**
 * Unpacked layers. A directory under `snapshots/` is complete and durable; what is being unpacked lies in `staging/`.
 *
 * A snapshot is named after its layer's diff id, so that images with a layer in common share it whatever lies below:
 * whiteouts and opaque directories only say "hide what is below", so their unpacked form is the same everywhere. The
 * exception are layers with directories they do not describe (`impliedDirectories`): owner and mode of those come from
 * the layers below, so such a layer is named after its chain (image-spec config.md, "Layer ChainID").
 *
 * Names are short on purpose. The mount options of an overlay must fit one page of 4096 bytes: 127 layers × 27 bytes
 * (a name and a colon) leave some 660 for the rest, if the mount is made with `snapshots/` as working directory and
 * names relative to it. 26 characters of base32 are 130 bits of a SHA-256.
 */
import { removeTree } from '../host/remove-tree.ts';
import { createHash } from 'node:crypto';
import { chmod, chown, lstat, mkdir, readdir, rename, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { diskError, flushDirectory, uniqueName } from '../host/durable-file.ts';

export class SnapshotStore {
  private readonly snapshotsDir: string;
  private readonly stagingDir: string;
  /** Writes the file system of a directory to disk. */
  private readonly flush: (dir: string) => Promise<void>;

  constructor(rootDir: string, flush: (dir: string) => Promise<void>) {
    this.snapshotsDir = join(rootDir, 'snapshots');
    this.stagingDir = join(rootDir, 'staging');
    this.flush = flush;
  }

  async open(): Promise<void> {
    // Setuid programs of images are in here: nobody but root may come near.
    await mkdir(this.snapshotsDir, { recursive: true, mode: 0o700 });
    await mkdir(this.stagingDir, { recursive: true, mode: 0o700 });
  }

  path(name: string): string {
    return join(this.snapshotsDir, name);
  }

  async has(name: string): Promise<boolean> {
    const found = await lstat(this.path(name)).catch(() => undefined);
    return found?.isDirectory() === true;
  }

  /** Has `fill` fill a new directory, then makes it durable under `name`. Whatever fails, nothing of it stays. */
  async create(name: string, fill: (dir: string) => Promise<void>): Promise<void> {
    const staging = join(this.stagingDir, uniqueName());
    try {
      await mkdir(staging, { mode: 0o755 });
      await fill(staging);
      await this.flush(staging);
      await rename(staging, this.path(name)).catch(async (error: unknown) => {
        // Somebody else made the same one meanwhile, e.g. from another registry: theirs is as good.
        if (!(await this.has(name))) throw error;
        await removeTree(staging);
      });
      await flushDirectory(this.snapshotsDir);
    } catch (error) {
      const told = await diskError(error, staging);
      await removeTree(staging);
      throw told;
    }
  }

  /** Removes what was being unpacked. Complete snapshots stay, also without a record: the next pull goes on from them. */
  async sweep(): Promise<void> {
    await removeTree(this.stagingDir);
    await this.open();
  }

  /** All complete snapshots. */
  async list(): Promise<readonly string[]> {
    return readdir(this.snapshotsDir);
  }
}

/** The name of a snapshot that depends on its layer only. */
export const layerSnapshotName = (diffId: string): string => shortName(`layer ${diffId}`);

/** The name of a snapshot that depends on the layers below too. */
export const chainSnapshotName = (chainId: string): string => shortName(`chain ${chainId}`);

/** Chain ids of a list of diff ids, lowest first (image-spec config.md). */
export function chainIds(diffIds: readonly string[]): readonly string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(
      below === undefined ? diffId : `sha256:${createHash('sha256').update(`${below} ${diffId}`).digest('hex')}`,
    );
  }
  return chain;
}

/**
 * Gives each implied directory of the layer in `dir` the owner, mode and times it has in the topmost of `lowerDirs`;
 * what none has stays root's with mode 755. Paths are latin1 bytes, parents first.
 */
export async function adoptDirectories(
  dir: string,
  paths: readonly string[],
  lowerDirs: readonly string[],
): Promise<void> {
  for (const path of paths) {
    const target = await directoryAt(dir, path);
    if (target === undefined || target === 'hidden') continue;
    for (const lower of lowerDirs) {
      const found = await directoryAt(lower, path);
      if (found === 'hidden') break;
      if (found === undefined) continue;
      await chown(target.path, found.uid, found.gid);
      await chmod(target.path, found.mode);
      await utimes(target.path, found.atime, found.mtime);
      break;
    }
  }
}

/** The directory `path` of one layer, never by way of a link; `hidden` when something else stands there or above. */
async function directoryAt(
  root: string,
  path: string,
): Promise<{ path: Buffer; uid: number; gid: number; mode: number; atime: Date; mtime: Date } | 'hidden' | undefined> {
  let current: Buffer = Buffer.from(root);
  let found: Awaited<ReturnType<typeof lstat>> | undefined;
  for (const part of path.split('/')) {
    current = Buffer.concat([current, Buffer.from('/'), Buffer.from(part, 'latin1')]);
    found = await lstat(current).catch(() => undefined);
    if (found === undefined) return undefined;
    if (!found.isDirectory()) return 'hidden';
  }
  if (found === undefined) return undefined;
  const { uid, gid, mode, atime, mtime } = found;
  return { path: current, uid: Number(uid), gid: Number(gid), mode: Number(mode) & 0o7777, atime, mtime };
}

const nameLength = 26;
const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/** The first bits of a SHA-256 in base32 (RFC 4648, lower case). */
function shortName(key: string): string {
  const bits = BigInt(`0x${createHash('sha256').update(key).digest('hex')}`);
  return Array.from({ length: nameLength }, (_none, index) => {
    const shift = BigInt(256 - 5 * (index + 1));
    return alphabet[Number((bits >> shift) & 31n)] ?? '';
  }).join('');
}
