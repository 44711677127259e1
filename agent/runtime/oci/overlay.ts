/** A container's root filesystem: an overlay of its image's layers and a writable folder of its own. */
import { dirname, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FrotaError } from '../../../proto/base/errors.ts';
import { mountsBelow } from '../../host/mounts.ts';
import { run } from '../../host/programs.ts';
import type { ContainerFolders } from './folders.ts';

/** mount(2) takes one page of options. */
const maxOptionBytes = 4_095;
/** A mount stays busy for a moment after its last process died. */
const unmountTries = 10;
const unmountRetryMs = 20;

/**
 * Mounts `lowerDirs` (the topmost layer first) at `folders.rootfs`.
 * `volatile`: the writable folder is never used again after a crash, so nobody needs to wait for its writes.
 * Throws `unsupported` when an image has more layers than one mount call can name.
 */
export async function mountOverlay(
  lowerDirs: readonly string[],
  folders: ContainerFolders,
  signal: AbortSignal,
): Promise<void> {
  // Relative to a common folder, so that many layers fit into the one page of options.
  const base = commonFolder([...lowerDirs, folders.folder]);
  const shorten = (path: string): string => relative(base, path);
  const lower = lowerDirs.map(shorten).join(':');
  const options = `lowerdir=${lower},upperdir=${shorten(folders.upper)},workdir=${shorten(folders.work)},index=off,volatile`;
  const odd = [...lowerDirs, folders.folder].find((path) => /[,:\\"\s]/.test(path));
  if (odd !== undefined) {
    throw new FrotaError('unsupported', `${odd}: an overlay can't be mounted from a folder with such a name`);
  }
  if (Buffer.byteLength(options) > maxOptionBytes) {
    const count = String(lowerDirs.length);
    throw new FrotaError(
      'unsupported',
      `the image has ${count} layers, more than one mount can name; rebuild it with fewer`,
    );
  }
  await run('mount', ['-t', 'overlay', 'overlay', '-o', options, folders.rootfs], { cwd: base, signal });
}

/** Unmounts everything at and below `folder`, lazily in the end. No error if nothing is mounted. */
export async function unmountBelow(folder: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const points = await mountsBelow(folder);
    if (points.length === 0) return;
    if (attempt > unmountTries) {
      throw new FrotaError('conflict', `${points.join(', ')}: can't be unmounted, still in use`);
    }
    const lazy = attempt === unmountTries ? ['-l'] : [];
    for (const point of points) await run('umount', [...lazy, point], { allowedCodes: umountCodes });
    if (attempt > 1) await sleep(unmountRetryMs);
  }
}

/** umount(8): 1 and 32 are failures, told by what is still mounted afterwards. */
const umountCodes = [0, 1, 32];

function commonFolder(paths: readonly string[]): string {
  let common = dirname(paths[0] ?? '/');
  while (common !== '/' && !paths.every((path) => path.startsWith(`${common}/`))) common = dirname(common);
  return common;
}
