/** Streams that are followed outlive the controller: opened again where they broke off, for as long as a restart may take. */
import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs } from '../../proto/base/backoff.ts';
import type { BackoffPolicy } from '../../proto/base/backoff.ts';
import { FrotaError } from '../../proto/base/errors.ts';

export interface Following {
  /** Whether there is a connection, or comes to be within a moment. */
  readonly ready: () => Promise<boolean>;
  readonly signal: AbortSignal;
  /** What a person who follows should know. */
  readonly note: (text: string) => void;
  readonly patience?: Patience;
}

export interface Patience {
  readonly backoff: BackoffPolicy;
  /** Without an answer; then it is over. */
  readonly giveUpAfterMs: number;
  /** A stream that lasted for so long had a controller, though it told nothing. */
  readonly steadyMs: number;
}

/** A supervisor starts a controller within seconds; a machine that is started anew takes a minute. */
const defaultPatience: Patience = {
  backoff: { firstMs: 250, factor: 2, maxMs: 2_000 },
  giveUpAfterMs: 60_000,
  steadyMs: 5_000,
};

/**
 * All that `open` brings, over and over: it is to go on behind what was told before. Only what is followed may be given here: a
 * stream that ends of its own was left by a controller that stops.
 * @throws FrotaError `unavailable` when no controller comes back, and whatever else a stream fails with
 */
export async function* followed<Reply>(open: () => AsyncIterable<Reply>, following: Following): AsyncIterable<Reply> {
  const { ready, signal, note, patience = defaultPatience } = following;
  let lostAtMs: number | undefined;
  let answered = false;
  for (let attempt = 0; ; attempt += 1) {
    const openedAtMs = performance.now();
    let cause: FrotaError | undefined;
    if (lostAtMs === undefined || (await ready())) {
      if (lostAtMs !== undefined) note('the controller answers again');
      try {
        for await (const reply of open()) {
          lostAtMs = undefined;
          answered = true;
          attempt = 0;
          yield reply;
        }
      } catch (thrown) {
        cause = FrotaError.from(thrown);
        if (cause.code !== 'unavailable' && !signal.aborted) throw cause;
      }
      const lasted = performance.now() - openedAtMs > patience.steadyMs;
      if (lasted) lostAtMs = undefined;
      answered ||= lasted;
      // One that was never there is no restart: that is told at once.
      if (!answered && cause !== undefined && !signal.aborted) throw cause;
    }
    if (signal.aborted) throw new FrotaError('cancelled', 'stopped following');
    const bound = `${String(patience.giveUpAfterMs / 1_000)} s`;
    if (lostAtMs === undefined) note(`the controller does not answer; trying again for ${bound}`);
    lostAtMs ??= performance.now();
    if (performance.now() - lostAtMs > patience.giveUpAfterMs) {
      throw new FrotaError('unavailable', `no controller came back within ${bound}; what was told so far is all`, {
        cause,
      });
    }
    await delay(backoffMs(patience.backoff, Math.min(attempt, maxBackoffSteps), Math.random()), undefined, {
      signal,
    }).catch(() => undefined);
  }
}

/** The pause has its full length long before. */
const maxBackoffSteps = 16;
