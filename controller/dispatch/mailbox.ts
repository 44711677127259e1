/** What waits to be sent on one session's stream, and what wakes the session. */
import type { ControllerMessage } from '../../proto/codec/dispatch.ts';

export interface Mailbox {
  readonly put: (message: ControllerMessage) => void;
  readonly wake: () => void;
  readonly end: () => void;
  /** Resolves true when there may be something to send, after `withinMs` at the latest, and false when the session is over. */
  next(withinMs?: number): Promise<boolean>;
  take(): readonly ControllerMessage[];
}

export function createMailbox(signal: AbortSignal): Mailbox {
  let waiting: ControllerMessage[] = [];
  let woken = false;
  let ended = signal.aborted;
  let ring: () => void = () => undefined;
  const end = (): void => {
    ended = true;
    ring();
  };
  const wake = (): void => {
    woken = true;
    ring();
  };
  signal.addEventListener('abort', end, { once: true });
  return {
    put: (message) => {
      waiting.push(message);
      wake();
    },
    wake,
    end,
    next: async (withinMs) => {
      if (!woken && !ended) {
        await new Promise<void>((resolve) => {
          const timer = withinMs === undefined ? undefined : setTimeout(resolve, withinMs);
          ring = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      woken = false;
      return !ended;
    },
    take: () => {
      const taken = waiting;
      waiting = [];
      return taken;
    },
  };
}
