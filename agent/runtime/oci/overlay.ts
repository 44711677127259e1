/** A container's root filesystem: an overlay of its image's layers and a writable folder of its own. */
import { overlayLayers } from '../../host/overlay-layers.ts';
import { run } from '../../host/programs.ts';
import type { ContainerFolders } from './folders.ts';

/**
 * Mounts `lowerDirs` (the topmost layer first) at `folders.rootfs`.
 * `volatile`: the writable folder is never used again after a crash, so nobody needs to wait for its writes.
 * Throws `unsupported` when an image has more layers than one mount call can name.
 */
export async function mountOverlay(
  lowerDirs: readonly string[],
  { upper, work, rootfs }: Pick<ContainerFolders, 'upper' | 'work' | 'rootfs'>,
  signal: AbortSignal,
): Promise<void> {
  const { base, options } = overlayLayers(lowerDirs, {
    folders: { upperdir: upper, workdir: work },
    tail: 'index=off,volatile',
  });
  await run('mount', ['-t', 'overlay', 'overlay', '-o', options, rootfs], { cwd: base, signal });
}
