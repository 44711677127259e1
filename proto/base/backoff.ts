/** Exponential back-off, pure: the caller owns the attempt count and the randomness. */
export interface BackoffPolicy {
  readonly firstMs: number;
  readonly factor: number;
  readonly maxMs: number;
}

/**
 * Delay before attempt `attempt` (0 is the first retry), in milliseconds. `random` in [0, 1) spreads it over
 * the upper half of the interval, so that many callers do not come back at the same instant.
 */
export function backoffMs(policy: BackoffPolicy, attempt: number, random: number): number {
  const full = Math.min(policy.maxMs, policy.firstMs * policy.factor ** Math.max(0, attempt));
  return Math.round(full / 2 + (full / 2) * random);
}
