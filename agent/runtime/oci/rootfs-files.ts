/** Reads files of an image as the container would see them: its symlinks never lead out of its root filesystem. */
import { constants } from 'node:fs';
import { open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import { FrotaError } from '../../../proto/base/errors.ts';
import { resolveInRoot } from '../../host/resolve-in-root.ts';

/** `/etc/passwd` of a big site; a larger one is no list of users. */
export const maxFileBytes = 1024 * 1024;

/** open(2): names a file without opening it, so that no fifo blocks and no device acts. Node has no word for it. */
const openPathOnly = 0o10000000;

/**
 * The text of a regular file of the root filesystem mounted at `root`; empty if it isn't there, is no regular file, or
 * is reached only through a cycle of symlinks. What runs in `root` may change it meanwhile: the file is taken hold of,
 * found to be inside, and then read by that hold. Throws `invalid` above `maxFileBytes`.
 */
export async function readRootfsFile(root: string, path: string): Promise<string> {
  const place = await resolveInRoot(root, path);
  if (place === undefined) return '';
  const hold = await open(place, openPathOnly | constants.O_NOFOLLOW).catch(() => undefined);
  if (hold === undefined) return '';
  try {
    return await readHeld(hold, root, path);
  } finally {
    await hold.close();
  }
}

async function readHeld(hold: FileHandle, root: string, path: string): Promise<string> {
  const held = `/proc/self/fd/${String(hold.fd)}`;
  const [stat, real, realRoot] = await Promise.all([hold.stat(), readlink(held), realpath(root)]);
  if (!stat.isFile() || !real.startsWith(`${realRoot}/`)) return '';
  if (stat.size > maxFileBytes) {
    throw new FrotaError('invalid', `${path} of the image is larger than ${String(maxFileBytes)} bytes`);
  }
  const file = await open(held, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    // It may grow meanwhile.
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxFileBytes), 0, maxFileBytes, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
