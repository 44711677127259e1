/** Removes a folder whose names somebody else chose: a container, an image. */
import { run } from './programs.ts';

/** A full disk's worth of small files; a program that hangs must not hang the agent. */
const removeTimeoutMs = 300_000;

/**
 * GNU rm walks by descriptor, so that no depth of folders is too deep for it; Node's own uses whole paths, which end at
 * PATH_MAX. Mounts below are not entered. No error if nothing is there.
 */
export async function removeTree(folder: string): Promise<void> {
  await run('rm', ['-rf', '--one-file-system', '--', folder], { timeoutMs: removeTimeoutMs });
}
