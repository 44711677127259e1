/** Joins the parts of this room. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { CredentialProvider } from '../../proto/oci/authorization.ts';
import { hostPlatform } from '../../proto/oci/platform.ts';
import type { Platform } from '../../proto/oci/platform.ts';
import { createRegistryClient } from '../../proto/oci/registry-client.ts';
import { ContentStore } from './content-store.ts';
import { ImageRecords } from './image-records.ts';
import type { Images } from './images.ts';
import { defaultImageLimits } from './limits.ts';
import type { ImageLimits } from './limits.ts';
import { LocalImages } from './local-images.ts';
import { defaultPrograms } from './sandbox.ts';
import type { ImagePrograms } from './sandbox.ts';
import { SnapshotStore } from './snapshot-store.ts';

export interface ImagesOptions {
  /** The agent's data folder; everything lies below `images/` in it. Its file system must keep extended attributes. */
  readonly dataDir: string;
  readonly logger: Logger;
  readonly insecureRegistries?: readonly string[];
  readonly credentials?: CredentialProvider;
  /** Default: this machine's. */
  readonly platform?: Platform;
  readonly programs?: Partial<ImagePrograms>;
  readonly limits?: Partial<ImageLimits>;
}

/** Flushing a file system waits for everybody's writes to it, on slow disks for many seconds. */
const flushTimeoutMs = 120_000;
const probeTimeoutMs = 10_000;

/** Makes the folders if they are missing. `close` stops what is under way. */
export async function createImages(options: ImagesOptions): Promise<Images & { close(): Promise<void> }> {
  const root = join(options.dataDir, 'images');
  const programs = { ...defaultPrograms, ...options.programs };
  const platform = options.platform ?? hostPlatform();
  const limits = { ...defaultImageLimits, ...options.limits };
  const content = new ContentStore(root, limits.keepFreeBytes);
  const snapshots = new SnapshotStore(root, (dir) => flushFileSystem(programs.sync, dir));
  const records = new ImageRecords(root, platform);
  await mkdir(root, { recursive: true, mode: 0o700 });
  await content.open();
  await snapshots.open();
  await records.open();
  const hasIgzip = await isRunnable(programs.igzip);
  if (!hasIgzip) {
    options.logger.info(
      {},
      'igzip (Debian package isal) is not installed: layers are unpacked with zlib, at twice the CPU time',
    );
  }
  const client = createRegistryClient({
    ...(options.insecureRegistries === undefined ? {} : { insecureRegistries: options.insecureRegistries }),
    ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
  });
  const { logger } = options;
  return new LocalImages({
    client,
    content,
    snapshots,
    records,
    platform,
    logger,
    unpack: { programs, limits, hasIgzip },
  });
}

/** syncfs(2) by way of coreutils: one call for all files of a layer, instead of an fsync for each. */
async function flushFileSystem(sync: string, dir: string): Promise<void> {
  try {
    await promisify(execFile)(sync, ['-f', dir], { timeout: flushTimeoutMs });
  } catch (error) {
    throw new FrotaError('unavailable', `${dir} could not be flushed to disk`, { cause: error });
  }
}

async function isRunnable(program: string): Promise<boolean> {
  return promisify(execFile)(program, ['--version'], { timeout: probeTimeoutMs }).then(
    () => true,
    () => false,
  );
}
