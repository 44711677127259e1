/** What an image has at a path, copied to a new folder with owners, modes, attributes and links. */
import { lstat, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import { uniqueName } from '../host/durable-file.ts';
import { overlayLayers } from '../host/overlay-layers.ts';
import { run } from '../host/programs.ts';
import { resolveInRoot } from '../host/resolve-in-root.ts';
import { unmountBelow } from '../host/unmount.ts';

export interface ImagePath {
  /** Topmost first. */
  readonly lowerDirs: readonly string[];
  /** Path in the image. */
  readonly path: string;
}

/** As large as images get, on a slow disk; a program that hangs must not hang the agent. */
const copyTimeoutMs = 10 * 60 * 1_000;

/**
 * Copies to `destination`, which must not exist yet. False, and nothing is made, when the image has nothing there.
 * `scratch`: a folder on any file system, in which the image is mounted meanwhile.
 * @throws FrotaError `invalid` when it is no folder, `exhausted` when the disk is full, `cancelled`.
 */
export async function copyFromImage(
  { lowerDirs, path }: ImagePath,
  destination: string,
  scratch: string,
  signal: AbortSignal,
): Promise<boolean> {
  const folder = join(scratch, `.image-${uniqueName()}`);
  const [root, empty] = [join(folder, 'root'), join(folder, 'empty')];
  try {
    for (const each of [root, empty]) await mkdir(each, { recursive: true, mode: 0o700 });
    // An overlay without a writable layer has two others at the least.
    const { base, options } = overlayLayers([...lowerDirs, empty], { tail: 'ro' });
    await run('mount', ['-t', 'overlay', 'overlay', '-o', options, root], { cwd: base, signal });
    const source = await resolveInRoot(root, path);
    if (source === undefined) return false;
    if (!(await lstat(source)).isDirectory()) {
      throw new FrotaError('invalid', `the image has a file at ${path}, and a volume is a folder; mount it elsewhere`);
    }
    await copy(source, destination, signal);
    return true;
  } finally {
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true });
  }
}

async function copy(source: string, destination: string, signal: AbortSignal): Promise<void> {
  try {
    await run('cp', ['-a', '--no-target-directory', '--', source, destination], {
      timeoutMs: copyTimeoutMs,
      signal,
      // Its words in English, for below.
      env: { ...process.env, LC_ALL: 'C' },
    });
  } catch (error) {
    // cp(1) tells a full disk by words only.
    if (!/No space left on device|Disk quota exceeded/.test(describeError(error))) throw error;
    throw new FrotaError('exhausted', `the disk is full: ${destination} could not be written; free some space`, {
      cause: error,
    });
  }
}
