/** PURE: what became of each request, counted as it ends. Times are milliseconds since the probe began. */
import type { ProbeTally } from '../../proto/domain/drill.ts';

export type Ending =
  { readonly kind: 'answered'; readonly tookMs: number } | { readonly kind: 'failed'; readonly reason: string };

/** Different reasons that are told apart; an answer's text could make any number of them. */
const maxReasons = 20;

export class TallyKeeper {
  #sent = 0;
  #failed = 0;
  #lastAnswerMs = 0;
  #longestGapMs = 0;
  #firstFailureMs: number | undefined;
  #lastFailureMs: number | undefined;
  readonly #latencies: number[] = [];
  readonly #failures = new Map<string, number>();
  readonly #endpoints = new Map<string, { inForceMs: number; answeredMs?: number }>();

  sent(): void {
    this.#sent += 1;
  }

  /** `sentAtMs`: a failure counts at the time at which it was asked. */
  ended(ending: Ending, sentAtMs: number, nowMs: number): void {
    if (ending.kind === 'answered') {
      this.#latencies.push(ending.tookMs);
      this.#longestGapMs = Math.max(this.#longestGapMs, nowMs - this.#lastAnswerMs);
      this.#lastAnswerMs = nowMs;
      return;
    }
    this.#failed += 1;
    this.#firstFailureMs = Math.min(this.#firstFailureMs ?? Infinity, sentAtMs);
    this.#lastFailureMs = Math.max(this.#lastFailureMs ?? 0, sentAtMs);
    const isKnown = this.#failures.has(ending.reason) || this.#failures.size < maxReasons;
    const reason = isKnown ? ending.reason : 'other reasons';
    this.#failures.set(reason, (this.#failures.get(reason) ?? 0) + 1);
  }

  /** False when it is known already. */
  inForce(taskId: string, nowMs: number): boolean {
    if (this.#endpoints.has(taskId)) return false;
    this.#endpoints.set(taskId, { inForceMs: nowMs });
    return true;
  }

  endpointAnswered(taskId: string, nowMs: number): void {
    const seen = this.#endpoints.get(taskId);
    if (seen !== undefined) seen.answeredMs ??= nowMs;
  }

  tally(nowMs: number): ProbeTally {
    const sorted = [...this.#latencies].sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    const round = (ms: number): number => Math.round(ms * 10) / 10;
    return {
      ranMs: Math.round(nowMs),
      sent: this.#sent,
      failed: this.#failed,
      // What nobody has answered until now is a gap, too.
      longestGapMs: Math.round(Math.max(this.#longestGapMs, nowMs - this.#lastAnswerMs)),
      ...(this.#firstFailureMs !== undefined && { firstFailureMs: Math.round(this.#firstFailureMs) }),
      ...(this.#lastFailureMs !== undefined && { lastFailureMs: Math.round(this.#lastFailureMs) }),
      latencyMs: { median: round(at(0.5)), p99: round(at(0.99)) },
      failures: Object.fromEntries(this.#failures),
      endpoints: [...this.#endpoints].map(([taskId, { inForceMs, answeredMs }]) => ({
        taskId,
        inForceMs: Math.round(inForceMs),
        ...(answeredMs !== undefined && { answeredMs: Math.round(answeredMs) }),
      })),
    };
  }
}
