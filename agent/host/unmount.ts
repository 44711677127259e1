/** Unmounting for sure: what a crash left mounted, in the order in which it goes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { FrotaError } from '../../proto/base/errors.ts';
import { mountsBelow } from './mounts.ts';
import { run } from './programs.ts';

/** A mount stays busy for a moment after its last process died. */
const unmountTries = 10;
const unmountRetryMs = 20;
/** umount(8): 1 and 32 are failures, told by what is still mounted afterwards. */
const umountCodes = [0, 1, 32];

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
