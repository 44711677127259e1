/** How many health checks a node begins at a time: each starts a program, and a hundred at once would starve the containers. */
import pLimit from 'p-limit';
import { pause } from '../../proto/base/pause.ts';

/** Starting a program in a container costs 10 to 40 ms of one processor; four keep a small machine busy and no more. */
export const checksAtOnce = 4;
/** A check that takes longer is waiting, not working: it goes on and gives its turn away, so that a few that hang delay nobody. */
export const turnMs = 500;

export interface CheckTurns {
  /** Runs `check` when its turn comes; not at all, and undefined, if `signal` has aborted by then. */
  take<T>(check: () => Promise<T>, signal: AbortSignal): Promise<T | undefined>;
}

export function createCheckTurns(): CheckTurns {
  const limit = pLimit(checksAtOnce);
  return {
    take: async (check, signal) => {
      const begun = await limit(async () => {
        if (signal.aborted) return undefined;
        const running = check();
        const over = new AbortController();
        const end = (): void => {
          over.abort();
        };
        // Who waits for its outcome hears of a failure; here it only ends the turn.
        running.then(end, end);
        await pause(turnMs, over.signal);
        // Wrapped: a promise that is returned would be waited for.
        return { running };
      });
      return begun?.running;
    },
  };
}
