/**
 * A health check as Compose and Docker define it (Compose specification, `healthcheck`). A field that is absent is the
 * image's own, and where that has none either, `defaultHealthCheck`'s.
 */
export interface HealthCheck {
  /** `['NONE']`: none, whatever the image says; `['CMD', program, …]`; `['CMD-SHELL', line]`. Absent: the image's own. */
  readonly test?: readonly string[];
  /** Between two checks once the first has succeeded. */
  readonly intervalMs?: number;
  /** A check that takes longer has failed. */
  readonly timeoutMs?: number;
  /** Failures in a row that make a container unhealthy. */
  readonly retries?: number;
  /** From the container's start: failures within it don't count. */
  readonly startPeriodMs?: number;
  /** Between two checks until the first success. */
  readonly startIntervalMs?: number;
}

/** Docker's defaults, but for `startIntervalMs`: here a container is checked often until it is first healthy, with or without a start period. */
export const defaultHealthCheck = {
  intervalMs: 30_000,
  timeoutMs: 30_000,
  retries: 3,
  startPeriodMs: 0,
  startIntervalMs: 1_000,
} as const satisfies Omit<HealthCheck, 'test'>;
