/** Reads files of an image as the container would see them: its symlinks never lead out of its root filesystem. */
import { constants } from 'node:fs';
import { lstat, open, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { FrotaError } from '../../../proto/base/errors.ts';

/** As the kernel (path_resolution(7)). */
const maxSymlinks = 40;
/** `/etc/passwd` of a big site; a larger one is no list of users. */
export const maxFileBytes = 1024 * 1024;

/**
 * The text of a regular file of the root filesystem mounted at `root`; empty if it isn't there, is no regular file, or
 * is reached only through a cycle of symlinks. Nothing may run in `root` yet: the path is checked, then opened.
 * Throws `invalid` above `maxFileBytes`.
 */
export async function readRootfsFile(root: string, path: string): Promise<string> {
  const place = await resolveInRoot(root, path);
  if (place === undefined) return '';
  // A fifo or device must neither block nor act: what is no regular file is never opened.
  if (!(await lstat(place)).isFile()) return '';
  const file = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if ((await file.stat()).size > maxFileBytes) {
      throw new FrotaError('invalid', `${path} of the image is larger than ${String(maxFileBytes)} bytes`);
    }
    return await file.readFile('utf8');
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
