/**
 * Blobs by digest. A file under `documents/` or `layers/` is whole and verified; what is being downloaded lies in
 * `ingest/`.
 *
 * Manifests and configs are kept: they say what an image is. Layer blobs go as soon as nobody unpacks them any more:
 * the snapshot is all that containers need, and keeping both would take half as much disk space again. They lie apart,
 * so that an image that calls another one's config its layer can't have it removed.
 */
import { mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import { algorithmOf, digestOf, hashFor, hexOf } from '../../proto/oci/digest.ts';
import type { Descriptor } from '../../proto/oci/manifest.ts';
import { diskError, flushDirectory, uniqueName, writeFileDurably } from '../host/durable-file.ts';
import { RoomWatch } from '../host/room.ts';

/** A claim on a layer blob; the last one to let go removes it. */
export interface BlobClaim {
  release(): Promise<void>;
}

export class ContentStore {
  private readonly documentsDir: string;
  private readonly layersDir: string;
  private readonly ingestDir: string;
  private readonly keepFreeBytes: number;
  private readonly claims = new Map<string, number>();
  /** Under way, by digest: whoever asks for the blob waits for their end. */
  private readonly removals = new Map<string, Promise<void>>();

  /** `keepFreeBytes`: so much of the disk no download takes. */
  constructor(rootDir: string, keepFreeBytes: number) {
    this.keepFreeBytes = keepFreeBytes;
    this.documentsDir = join(rootDir, 'documents');
    this.layersDir = join(rootDir, 'layers');
    this.ingestDir = join(rootDir, 'ingest');
  }

  async open(): Promise<void> {
    await mkdir(this.ingestDir, { recursive: true, mode: 0o700 });
    await mkdir(this.documentsDir, { recursive: true, mode: 0o700 });
    await mkdir(this.layersDir, { recursive: true, mode: 0o700 });
  }

  layerPath(digest: string): string {
    return blobPath(this.layersDir, digest);
  }

  /** Whether the layer's blob is there with its whole length; its digest was verified when it came. */
  async hasLayer(blob: Descriptor): Promise<boolean> {
    await this.removals.get(blob.digest);
    const found = await stat(this.layerPath(blob.digest)).catch(() => undefined);
    return found?.size === blob.size;
  }

  /** A document; undefined if it is absent or, whatever happened to the disk, is not what its name says. */
  async readDocument(digest: string): Promise<Buffer | undefined> {
    const bytes = await readFile(blobPath(this.documentsDir, digest)).catch(() => undefined);
    if (bytes === undefined || digestOf(bytes, algorithmOf(digest)) !== digest) return undefined;
    return bytes;
  }

  /** @throws FrotaError `corrupt` when `bytes` do not match. */
  async putDocument(digest: string, bytes: Buffer, where: string): Promise<void> {
    const actual = digestOf(bytes, algorithmOf(digest));
    if (actual !== digest) throw wrongDigest(where, actual);
    const path = blobPath(this.documentsDir, digest);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeFileDurably(path, bytes, this.ingestDir);
  }

  claimLayer(digest: string): BlobClaim {
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
        const removal = rm(this.layerPath(digest), { force: true }).finally(() => {
          this.removals.delete(digest);
        });
        this.removals.set(digest, removal);
        await removal;
      },
    };
  }

  /**
   * Stores a layer's blob from `source`, verifying length and digest on the way. Under its name it is durable, or absent.
   * @throws FrotaError `corrupt`, `exhausted` (disk full), and whatever `source` throws; the partial file is gone then.
   */
  async ingestLayer(blob: Descriptor, where: string, source: AsyncIterable<Buffer>): Promise<void> {
    const partial = join(this.ingestDir, uniqueName());
    const room = new RoomWatch({ folder: this.ingestDir, what: where, keepFreeBytes: this.keepFreeBytes });
    try {
      await room.expect(blob.size);
      const file = await open(partial, 'wx', 0o600);
      try {
        await copyVerified(file, blob, where, watched(source, room));
        await file.sync();
      } finally {
        await file.close();
      }
      const path = this.layerPath(blob.digest);
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await rename(partial, path);
      await flushDirectory(dirname(path));
    } catch (error) {
      const told = await diskError(error, partial);
      await rm(partial, { force: true });
      throw told;
    }
  }

  /** Removes partial downloads, layers that were not unpacked, and every document that `isKept` does not know. */
  async sweep(isKept: (digest: string) => boolean): Promise<void> {
    await rm(this.ingestDir, { recursive: true, force: true });
    await rm(this.layersDir, { recursive: true, force: true });
    await this.open();
    for (const algorithm of await readdir(this.documentsDir)) {
      for (const hex of await readdir(join(this.documentsDir, algorithm))) {
        const digest = `${algorithm}:${hex}`;
        if (!isKept(digest)) await rm(blobPath(this.documentsDir, digest), { recursive: true, force: true });
      }
    }
  }
}

const blobPath = (dir: string, digest: string): string => join(dir, algorithmOf(digest), hexOf(digest));

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

/** What passes here is written next. */
async function* watched(source: AsyncIterable<Buffer>, room: RoomWatch): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    await room.written(chunk.length);
    yield chunk;
  }
}

const wrongDigest = (where: string, actual: string): FrotaError =>
  new FrotaError(
    'corrupt',
    `${where} has other contents than its digest says: they are ${actual}; push the image again`,
  );
