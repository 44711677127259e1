/** Level, not edge: work that is done after each wake, never twice at once, and tried again until it succeeds. */
import { describeError } from '../proto/base/errors.ts';
import type { Logger } from '../proto/base/log.ts';
import { pause } from '../proto/base/pause.ts';

export interface Enforcer {
  /** Resolves after the first success; never, if there is none. */
  readonly ready: Promise<void>;
  wake(): void;
  close(): Promise<void>;
}

/** What failed (a program that timed out, say) is tried again soon, but not in a tight loop. */
const retryMs = 500;

/** `work` answers false when it can't do anything yet. */
export function createEnforcer(work: () => Promise<boolean>, logger: Logger): Enforcer {
  let dirty = false;
  let running: Promise<void> | undefined;
  const abort = new AbortController();
  let succeed: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => {
    succeed = resolve;
  });

  async function run(): Promise<void> {
    while (dirty && !abort.signal.aborted) {
      dirty = false;
      try {
        if (await work()) succeed();
      } catch (error) {
        logger.error({ error: describeError(error) }, 'the network could not be made what it should be; trying again');
        dirty = true;
        await pause(retryMs, abort.signal);
      }
    }
    running = undefined;
  }

  return {
    ready,
    wake: () => {
      dirty = true;
      running ??= run();
    },
    close: async () => {
      abort.abort();
      await running;
    },
  };
}

/** Runs `work` every so often until `signal` aborts. A failure is logged, and the next round tries again. */
export async function every(
  intervalMs: number,
  options: { readonly signal: AbortSignal; readonly logger: Logger; readonly what: string },
  work: () => Promise<void>,
): Promise<void> {
  const { signal, logger, what } = options;
  for (;;) {
    await pause(intervalMs, signal);
    if (signal.aborted) return;
    await work().catch((error: unknown) => {
      logger.warn({ error: describeError(error) }, `${what} failed; it is tried again`);
    });
  }
}
