/** Files that are there whole or not at all, also after a power cut, and that only their owner reads. */
import { constants } from 'node:fs';
import { link, mkdir, open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { randomBytes } from 'node:crypto';

/** Owner reads and writes: the file holds a key. */
const secretFileMode = 0o600;
const secretFolderMode = 0o700;

/** False if the file existed already; it is then left as it is. */
export async function createSecretFile(path: string, content: string): Promise<boolean> {
  const temporary = await writeBeside(path, content);
  try {
    // Unlike a rename, a link never replaces what another process has just made.
    await link(temporary, path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw thrown;
  } finally {
    await unlink(temporary);
  }
  await syncFolder(dirname(path));
  return true;
}

/** Whole and new, or as it was. */
export async function replaceSecretFile(path: string, content: string): Promise<void> {
  await rename(await writeBeside(path, content), path);
  await syncFolder(dirname(path));
}

/** @returns the path of a new file in the same folder, on disk. */
async function writeBeside(path: string, content: string): Promise<string> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: secretFolderMode });
  const temporary = join(folder, `.new-${randomBytes(8).toString('hex')}`);
  const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, secretFileMode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  return temporary;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
