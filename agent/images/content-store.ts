/**
 * Blobs by digest. A file under `blobs/` is whole and verified; what is being downloaded lies in `ingest/`.
 *
 * Manifests and configs are kept: they say what an image is. Layer blobs go as soon as nobody unpacks them any more:
 * the snapshot is all that containers need, and keeping both would take half as much disk space again.
 */
import { mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import { algorithmOf, digestOf, hashFor, hexOf } from '../../proto/oci/digest.ts';
import type { Descriptor } from '../../proto/oci/manifest.ts';
import { diskError, flushDirectory, uniqueName, writeFileDurably } from './durable.ts';

/** A claim on a layer blob; the last one to let go removes it. */
export interface BlobClaim {
  release(): Promise<void>;
}

export class ContentStore {
  private readonly blobsDir: string;
  private readonly ingestDir: string;
  private readonly claims = new Map<string, number>();

  constructor(rootDir: string) {
    this.blobsDir = join(rootDir, 'blobs');
    this.ingestDir = join(rootDir, 'ingest');
  }

  async open(): Promise<void> {
    await mkdir(this.ingestDir, { recursive: true, mode: 0o700 });
    await mkdir(this.blobsDir, { recursive: true, mode: 0o700 });
  }

  path(digest: string): string {
    return join(this.blobsDir, algorithmOf(digest), hexOf(digest));
  }

  /** Whether the blob is there with its whole length; its digest was verified when it came. */
  async has(blob: Descriptor): Promise<boolean> {
    const found = await stat(this.path(blob.digest)).catch(() => undefined);
    return found?.size === blob.size;
  }

  /** A small blob; undefined if it is absent or, whatever happened to the disk, is not what its name says. */
  async read(digest: string): Promise<Buffer | undefined> {
    const bytes = await readFile(this.path(digest)).catch(() => undefined);
    if (bytes === undefined || digestOf(bytes, algorithmOf(digest)) !== digest) return undefined;
    return bytes;
  }

  /** @throws FrotaError `corrupt` when `bytes` do not match. */
  async put(digest: string, bytes: Buffer, where: string): Promise<void> {
    const actual = digestOf(bytes, algorithmOf(digest));
    if (actual !== digest) throw wrongDigest(where, actual);
    await this.makeFolder(digest);
    await writeFileDurably(this.path(digest), bytes, this.ingestDir);
  }

  claim(digest: string): BlobClaim {
    this.claims.set(digest, (this.claims.get(digest) ?? 0) + 1);
    let isReleased = false;
    return {
      release: async () => {
        if (isReleased) return;
        isReleased = true;
        const left = (this.claims.get(digest) ?? 1) - 1;
        if (left > 0) {
          this.claims.set(digest, left);
          return;
        }
        this.claims.delete(digest);
        await rm(this.path(digest), { force: true });
      },
    };
  }

  /**
   * Stores the blob from `source`, verifying length and digest on the way. Under its name it is durable, or absent.
   * @throws FrotaError `corrupt`, `exhausted` (disk full), and whatever `source` throws; the partial file is gone then.
   */
  async ingest(blob: Descriptor, where: string, source: AsyncIterable<Buffer>): Promise<void> {
    const partial = join(this.ingestDir, uniqueName());
    try {
      const file = await open(partial, 'wx', 0o600);
      try {
        await copyVerified(file, blob, where, source);
        await file.sync();
      } finally {
        await file.close();
      }
      const folder = await this.makeFolder(blob.digest);
      await rename(partial, this.path(blob.digest));
      await flushDirectory(folder);
    } catch (error) {
      await rm(partial, { force: true });
      throw diskError(error, partial);
    }
  }

  /** Removes partial downloads and every blob that `isKept` does not know. */
  async sweep(isKept: (digest: string) => boolean): Promise<void> {
    await rm(this.ingestDir, { recursive: true, force: true });
    await this.open();
    for (const algorithm of await readdir(this.blobsDir)) {
      for (const hex of await readdir(join(this.blobsDir, algorithm))) {
        const digest = `${algorithm}:${hex}`;
        if (!isKept(digest)) await rm(this.path(digest), { recursive: true, force: true });
      }
    }
  }

  private async makeFolder(digest: string): Promise<string> {
    const folder = join(this.blobsDir, algorithmOf(digest));
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return folder;
  }
}

async function copyVerified(
  file: FileHandle,
  blob: Descriptor,
  where: string,
  source: AsyncIterable<Buffer>,
): Promise<void> {
  const hash = hashFor(blob.digest);
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > blob.size) break;
    hash.update(chunk);
    await file.writeFile(chunk);
  }
  if (size !== blob.size) {
    const got = size > blob.size ? 'more' : `only ${String(size)}`;
    throw new FrotaError('corrupt', `${where} should have ${String(blob.size)} bytes, but ${got} came`);
  }
  const actual = `${algorithmOf(blob.digest)}:${hash.digest('hex')}`;
  if (actual !== blob.digest) throw wrongDigest(where, actual);
}

const wrongDigest = (where: string, actual: string): FrotaError =>
  new FrotaError(
    'corrupt',
    `${where} has other contents than its digest says: they are ${actual}; push the image again`,
  );
