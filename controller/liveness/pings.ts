/** PURE: questions to one node over its session. An answer proves that the node lived when it was asked, and no more. */
import type { MonoMs } from '../../proto/base/clock.ts';

export interface Pings {
  /** The number of the question to ask now, if `everyMs` have passed since the last one; undefined: none. */
  due(everyMs: number | undefined, nowMs: MonoMs): number | undefined;
  /** When the question was asked that this answers; undefined: none that counts. */
  answered(number: number): MonoMs | undefined;
}

/** Answers to older questions say nothing that is still worth knowing. */
const maxOpen = 8;

export function createPings(): Pings {
  let open: { readonly number: number; readonly atMs: MonoMs }[] = [];
  let last: { readonly number: number; readonly atMs: MonoMs } | undefined;
  return {
    due: (everyMs, nowMs) => {
      if (everyMs === undefined || (last !== undefined && nowMs - last.atMs < everyMs)) return undefined;
      last = { number: (last?.number ?? 0) + 1, atMs: nowMs };
      open = [...open, last].slice(-maxOpen);
      return last.number;
    },
    answered: (number) => {
      const found = open.find((one) => one.number === number);
      if (found === undefined) return undefined;
      open = open.filter((one) => one.number > number);
      return found.atMs;
    },
  };
}
