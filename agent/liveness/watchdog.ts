/** Which calls to the disk or the runtime are out, and for how long the oldest: a hanging one is seen without waiting for it. */
export interface Watchdog {
  /** Counts as out from now until it settles. */
  watch<T>(call: () => Promise<T>): Promise<T>;
  /** Age of the oldest call that is out, ms; 0: none. */
  oldestMs(): number;
}

export function createWatchdog(nowMs: () => number): Watchdog {
  const out = new Map<symbol, number>();
  return {
    watch: async (call) => {
      const one = Symbol('call');
      out.set(one, nowMs());
      try {
        return await call();
      } finally {
        out.delete(one);
      }
    },
    // In the order in which they began.
    oldestMs: () => {
      const [first] = out.values();
      return first === undefined ? 0 : Math.max(0, nowMs() - first);
    },
  };
}
