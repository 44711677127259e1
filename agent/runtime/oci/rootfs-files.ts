/** Reads files of an image as the container would see them: its symlinks never lead out of its root filesystem. */
import { constants } from 'node:fs';
import { lstat, open, readlink, realpath, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { FrotaError } from '../../../proto/base/errors.ts';

/** As the kernel (path_resolution(7)). */
const maxSymlinks = 40;
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

/** The host path of `path` below `root`, every symlink resolved as if `root` were `/`; undefined if it isn't there. */
export async function resolveInRoot(root: string, path: string): Promise<string | undefined> {
  let rest = path.split('/');
  let resolved: string[] = [];
  let symlinks = 0;
  for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      resolved.pop();
      continue;
    }
    const place = join(root, ...resolved, part);
    const stat = await lstat(place).catch(() => undefined);
    if (stat === undefined) return undefined;
    if (!stat.isSymbolicLink()) {
      resolved.push(part);
      continue;
    }
    symlinks += 1;
    if (symlinks > maxSymlinks) return undefined;
    const target = await readlink(place);
    if (target.startsWith('/')) resolved = [];
    rest = [...target.split('/'), ...rest];
  }
  return join(root, ...resolved);
}
