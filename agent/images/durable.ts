/** Files and directories that are whole and on disk, or absent: written beside, flushed, renamed. */
import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';

/** A name nobody else uses. */
export const uniqueName = (): string => randomBytes(12).toString('hex');

/** Flushes a directory's list of names, so that a rename in it survives a power cut. */
export async function flushDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes `path` by way of a new file in `workDir`, which is on the same file system. */
export async function writeFileDurably(path: string, bytes: Uint8Array | string, workDir: string): Promise<void> {
  const temporary = join(workDir, uniqueName());
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw diskError(error, path);
  }
  await flushDirectory(dirname(path));
}

/** A failed system call on a file as a FrotaError: `exhausted` when there is no room, otherwise `unavailable`. */
export function diskError(error: unknown, path: string): FrotaError {
  if (error instanceof FrotaError) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new FrotaError('exhausted', `the disk is full: ${path} could not be written; free some space`, {
      cause: error,
    });
  }
  return FrotaError.from(error, 'unavailable');
}
