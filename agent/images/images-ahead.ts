/** Pulls what this node is to have ahead of need: one image at a time, again later where it fails, and nothing that is no longer wanted. */
import pLimit from 'p-limit';
import { backoffMs } from '../../proto/base/backoff.ts';
import type { BackoffPolicy } from '../../proto/base/backoff.ts';
import { describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { pause } from '../../proto/base/pause.ts';
import type { ResolvedImage } from '../../proto/domain/service.ts';
import type { Images } from './images.ts';

/** Nobody waits for it, and the registry may be down for a long time. */
const retry: BackoffPolicy = { firstMs: 5_000, factor: 2, maxMs: 300_000 };
/** What a task waits for goes first: an image that nobody waits for takes no more than one pull's share of the node. */
const pullsAtOnce = 1;

interface Pull {
  readonly abort: AbortController;
  /** Never rejects. */
  readonly done: Promise<void>;
}

export class ImagesAhead {
  readonly #images: Pick<Images, 'ensure'>;
  readonly #logger: Logger;
  readonly #random: () => number;
  readonly #turn = pLimit(pullsAtOnce);
  /** By `reference@digest`. It stays when the image is there, so that it is pulled once. */
  readonly #pulls = new Map<string, Pull>();

  constructor(images: Pick<Images, 'ensure'>, logger: Logger, random: () => number = Math.random) {
    this.#images = images;
    this.#logger = logger;
    this.#random = random;
  }

  /** Whole: what is not among `images` any more is not pulled any further. What is there stays. */
  want(images: readonly ResolvedImage[]): void {
    const wanted = new Map(images.map((image) => [`${image.reference}@${image.digest}`, image]));
    for (const [key, { abort }] of this.#pulls) {
      if (wanted.has(key)) continue;
      abort.abort();
      this.#pulls.delete(key);
    }
    for (const [key, image] of wanted) {
      if (this.#pulls.has(key)) continue;
      const abort = new AbortController();
      this.#pulls.set(key, { abort, done: this.#pull(image, abort.signal) });
    }
  }

  async close(): Promise<void> {
    const pulls = [...this.#pulls.values()];
    this.want([]);
    await Promise.all(pulls.map(({ done }) => done));
  }

  async #pull(image: ResolvedImage, signal: AbortSignal): Promise<void> {
    const isOver = (): boolean => signal.aborted;
    for (let failures = 0; !isOver(); failures += 1) {
      try {
        // One that waits to be tried again keeps no other from its turn.
        await this.#turn(async () => isOver() || this.#images.ensure(image, { signal }));
        this.#logger.debug({ image: image.reference }, 'image is here ahead of need');
        return;
      } catch (error) {
        if (isOver()) return;
        const waitMs = backoffMs(retry, failures, this.#random());
        const fields = { image: image.reference, error: describeError(error), againInMs: waitMs };
        this.#logger.warn(fields, 'an image could not be pulled ahead of need; tried again');
        await pause(waitMs, signal);
      }
    }
  }
}
