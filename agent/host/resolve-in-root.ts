/** Paths of an image as its container would see them: its symlinks never lead out of its root filesystem. */
import { lstat, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** As the kernel (path_resolution(7)). */
const maxSymlinks = 40;

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
