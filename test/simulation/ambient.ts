/**
 * What code can reach without being given it (timers, the date, chance), replaced for the length of one run, because the
 * code under test uses the ambient timers. Imports of `node:timers` can't be replaced: what is simulated uses none.
 */
import type { Random } from './random.ts';
import type { Appointment, VirtualTime } from './virtual-time.ts';

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  setImmediate: globalThis.setImmediate,
  clearImmediate: globalThis.clearImmediate,
};
const realRandom = Math.random;
const realNow = Date.now;

/** A turn of the real event loop this often: rejections nobody handled are told of there, and others in this process wait for it. */
const settlesPerTurn = 1_000;
let settles = 0;

/**
 * Resolves when the microtask queue is empty: Node takes up a tick that was asked for inside a microtask, and an
 * immediate, only then. The tick costs a tenth of the immediate.
 */
export function settleAll(): Promise<void> {
  settles += 1;
  return new Promise((resolve) => {
    if (settles % settlesPerTurn === 0) real.setImmediate(resolve);
    else process.nextTick(resolve);
  });
}

export const realMs = (): number => performance.now();

/** What `setTimeout` gives here; cleared as Node's is. */
class VirtualTimer {
  appointment: Appointment | undefined;

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return true;
  }
}

/** @returns a function that puts back what was there. */
export function installAmbient(time: VirtualTime, random: Random, epochMs: number): () => void {
  const later = (ms: number | undefined, work: () => void): VirtualTimer => {
    const timer = new VirtualTimer();
    // Node knows no shorter time: a rest that rounding leaves of a wait must not come again and again at one instant.
    timer.appointment = time.after(Math.max(1, ms ?? 1), () => {
      work();
      return undefined;
    });
    return timer;
  };
  const repeat = (timer: VirtualTimer, ms: number | undefined, work: () => void): VirtualTimer => {
    timer.appointment = time.after(Math.max(1, ms ?? 1), () => {
      repeat(timer, ms, work);
      work();
      return undefined;
    });
    return timer;
  };
  const clear = (timer: unknown): void => {
    if (timer instanceof VirtualTimer) timer.appointment?.cancel();
  };
  Object.assign(globalThis, {
    setTimeout: (work: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) =>
      later(ms, () => {
        work(...args);
      }),
    setInterval: (work: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) =>
      repeat(new VirtualTimer(), ms, () => {
        work(...args);
      }),
    setImmediate: (work: (...args: unknown[]) => void, ...args: unknown[]) =>
      later(0, () => {
        work(...args);
      }),
    clearTimeout: clear,
    clearInterval: clear,
    clearImmediate: clear,
  });
  Math.random = () => random.next();
  Date.now = () => Math.floor(epochMs + time.nowMs);
  return () => {
    Object.assign(globalThis, real);
    Math.random = realRandom;
    Date.now = realNow;
  };
}
