/** Files and directories that are whole and on disk, or absent: written beside, flushed, renamed. */
import { randomBytes } from 'node:crypto';
import { closeSync, fsync, mkdirSync, open, openSync, writeFileSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { FrotaError } from '../../proto/base/errors.ts';
import { noRoom } from './room.ts';

/** A name nobody else uses. */
export const uniqueName = (): string => randomBytes(12).toString('hex');

/** Flushes a directory's list of names, so that a rename in it survives a power cut. */
export async function flushDirectory(dir: string): Promise<void> {
  const file = openSync(dir, 'r');
  try {
    await flush(file);
  } finally {
    closeSync(file);
  }
}

/**
 * Only calls that may wait for a disk are handed to other threads. The rest works on what the kernel has in memory and is done in
 * microseconds, where the way to a thread and back takes a quarter of a millisecond, and a file needs eight calls.
 */
const create = promisify(open);
const flush = promisify(fsync);

/** The agent's own files: they hold keys, environment values, names of images. */
const privateMode = 0o600;
const privateFolderMode = 0o700;
/** Marks a file that a crash left half-written; readers of the folder remove it. */
export const temporarySuffix = '.new';

/**
 * Replaces `path` whole or not at all, and on disk when it resolves. `workDir`: where the new file is written first, on
 * the same file system; by default beside `path`. Missing folders are made.
 * @throws FrotaError `exhausted` when the disk is full, `unavailable` otherwise; what was there before is kept.
 */
export async function writeFileDurably(path: string, bytes: Uint8Array | string, workDir?: string): Promise<void> {
  const folder = dirname(path);
  const temporary = workDir === undefined ? `${path}.${uniqueName()}${temporarySuffix}` : join(workDir, uniqueName());
  try {
    if (workDir === undefined) mkdirSync(folder, { recursive: true, mode: privateFolderMode });
    const file = await create(temporary, 'wx', privateMode);
    try {
      writeFileSync(file, bytes);
      await flush(file);
    } finally {
      closeSync(file);
    }
    await rename(temporary, path);
  } catch (error) {
    const told = await diskError(error, path);
    await rm(temporary, { force: true }).catch(() => undefined);
    throw told;
  }
  await flushDirectory(folder);
}

/**
 * A failed system call on a file as a FrotaError: `exhausted` when there is no room, otherwise `unavailable`. It says how
 * much is free, so what was begun is removed afterwards.
 */
export async function diskError(error: unknown, path: string): Promise<FrotaError> {
  if (error instanceof FrotaError) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return FrotaError.from(error, 'unavailable');
  return noRoom(basename(path), dirname(path), { cause: error });
}
