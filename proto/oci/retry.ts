/** Trying again what may work later, within bounds: attempts, time in total, and what the server asks for. */
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../base/backoff.ts';
import type { BackoffPolicy } from '../base/backoff.ts';
import { FrotaError } from '../base/errors.ts';

/** What one attempt came to. `again`: it failed, but may work later, not before `retryAfterMs` if that is given. */
export type Outcome<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'again'; readonly error: FrotaError; readonly retryAfterMs?: number };

export interface RetryPolicy {
  readonly backoff: BackoffPolicy;
  readonly maxAttempts: number;
  /** From the first attempt to giving up. */
  readonly budgetMs: number;
}

/**
 * A refused connection is reported after about 3 s, a host that swallows packets after 20 s: long enough for a
 * registry that restarts, short enough that a task's reason says why it waits.
 */
export const defaultRetryPolicy: RetryPolicy = {
  backoff: { firstMs: 250, factor: 2, maxMs: 5_000 },
  maxAttempts: 5,
  budgetMs: 20_000,
};

/** Counts the attempts at one thing. Progress starts the count and the time anew. */
export class Attempts {
  private readonly policy: RetryPolicy;
  private readonly random: () => number;
  private count = 0;
  private deadline: number;

  constructor(policy: RetryPolicy, random: () => number = Math.random) {
    this.policy = policy;
    this.random = random;
    this.deadline = performance.now() + policy.budgetMs;
  }

  progress(): void {
    this.count = 0;
    this.deadline = performance.now() + this.policy.budgetMs;
  }

  /** Time left for the current attempt, at least 1 ms. */
  remainingMs(): number {
    return Math.max(1, Math.ceil(this.deadline - performance.now()));
  }

  /** Waits until the next attempt is due; throws `error` when there is to be none, `cancelled` on abort. */
  async next(error: FrotaError, retryAfterMs: number | undefined, signal: AbortSignal): Promise<void> {
    this.count += 1;
    const delayMs = Math.max(retryAfterMs ?? 0, backoffMs(this.policy.backoff, this.count - 1, this.random()));
    if (this.count >= this.policy.maxAttempts || performance.now() + delayMs >= this.deadline) throw error;
    await sleep(delayMs, undefined, { signal }).catch(() => {
      throw new FrotaError('cancelled', 'cancelled while waiting to try again', { cause: error });
    });
  }
}

/** Runs `attempt` until it is done, throws, or the policy ends. The signal it gets aborts when the time is over. */
export async function withRetries<T>(
  policy: RetryPolicy,
  signal: AbortSignal,
  attempt: (signal: AbortSignal) => Promise<Outcome<T>>,
): Promise<T> {
  const attempts = new Attempts(policy);
  for (;;) {
    const outcome = await withTimeLimit(attempts.remainingMs(), signal, attempt);
    if (outcome.kind === 'done') return outcome.value;
    await attempts.next(outcome.error, outcome.retryAfterMs, signal);
  }
}

async function withTimeLimit<T>(
  limitMs: number,
  signal: AbortSignal,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limited = new AbortController();
  const onAbort = (): void => {
    limited.abort(signal.reason);
  };
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => {
    limited.abort(new Error(`no answer within ${String(Math.round(limitMs / 1000))} s`));
  }, limitMs);
  try {
    return await act(limited.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** `Retry-After` (RFC 9110 section 10.2.3): seconds or a date. Undefined when it says nothing usable. */
export function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}
