/**
 * Two clocks, two types. Monotonic time decides liveness and leases and means nothing on another machine;
 * wall time is for people and for stored delays. Between machines only durations travel.
 */
declare const mono: unique symbol;
declare const wall: unique symbol;

/** Milliseconds of this machine's monotonic clock. */
export type MonoMs = number & { readonly [mono]: true };
/** Milliseconds since 1970-01-01T00:00:00Z. */
export type WallMs = number & { readonly [wall]: true };

/** One reading of both clocks; a pass of the control loop uses a single one. */
export interface Now {
  readonly monoMs: MonoMs;
  readonly wallMs: WallMs;
}

export interface Clock {
  now(): Now;
}

export const monoMs = (value: number): MonoMs => value as MonoMs;
export const wallMs = (value: number): WallMs => value as WallMs;
