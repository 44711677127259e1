/** Mounts below a folder, so that nothing is removed through one. */
import { readFile } from 'node:fs/promises';
import { FrotaError } from '../../proto/base/errors.ts';
import { call } from './programs.ts';

/** Mount points at or below `folder`, the last mounted first (proc_pid_mountinfo(5), with its octal escapes undone). */
export function mountsBelow(mountinfo: string, folder: string): readonly string[] {
  return mountinfo
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8))),
    )
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .toReversed();
}

const readMounts = async (folder: string): Promise<readonly string[]> =>
  mountsBelow(await readFile('/proc/self/mountinfo', 'utf8'), folder);

/** @throws FrotaError `unavailable` when one stays. */
export async function unmountBelow(folder: string): Promise<void> {
  for (const point of await readMounts(folder)) await call('umount', [point], { allowedCodes: [0, 1, 32] });
  // What is busy still (a file held open by a process outside) is detached; it ends with its last user.
  for (const point of await readMounts(folder)) await call('umount', ['--lazy', point], { allowedCodes: [0, 1, 32] });
  const left = await readMounts(folder);
  if (left.length > 0) throw new FrotaError('unavailable', `still mounted: ${left.join(', ')}`);
}
