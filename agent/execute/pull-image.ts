/** Makes a task's image present and says in words people read how far that is. */
import type { Clock } from '../../proto/base/clock.ts';
import type { ResolvedImage } from '../../proto/domain/service.ts';
import type { Image, Images } from '../images/images.ts';

/** Progress is told at most this often. */
const progressIntervalMs = 500;

export async function pullImage(
  ports: { readonly images: Images; readonly clock: Clock },
  image: ResolvedImage,
  signal: AbortSignal,
  tell: (reason: string) => void,
): Promise<Image> {
  let lastMs = -Infinity;
  return ports.images.ensure(image, {
    signal,
    onProgress: ({ phase, doneBytes, totalBytes }) => {
      const nowMs = ports.clock.now().monoMs;
      if (nowMs - lastMs < progressIntervalMs) return;
      lastMs = nowMs;
      const verb = phase === 'downloading' ? 'pulling' : 'unpacking';
      tell(`${verb} ${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB`);
    },
  });
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
