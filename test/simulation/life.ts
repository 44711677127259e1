/**
 * One run of a program, from its start to its exit or kill. What a killed program had begun never ends, and nothing it
 * does afterwards has an effect: every port given to it goes through its life.
 */
import { FrotaError } from '../../proto/base/errors.ts';
import type { Random } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';

export class Life {
  readonly name: string;
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #ends: (() => void)[] = [];
  #alive = true;

  constructor(name: string, time: VirtualTime, random: Random) {
    this.name = name;
    this.#time = time;
    this.#random = random;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** Runs once, when the program is gone; for what the world holds of it. */
  onEnd(work: () => void): void {
    if (this.#alive) this.#ends.push(work);
    else work();
  }

  end(): void {
    if (!this.#alive) return;
    this.#alive = false;
    for (const work of this.#ends.splice(0)) work();
  }

  /**
   * A call into the world that takes so long. Its effect comes at some point of that time, so that a kill can fall before
   * it, or between it and the answer.
   */
  call<T>(durationMs: number, effect: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#alive) return;
      const effectMs = durationMs * this.#random.next();
      this.#time.after(effectMs, () => {
        if (!this.#alive) return 'quiet';
        const answer = attempt(effect);
        this.#time.after(durationMs - effectMs, () => {
          if (!this.#alive) return 'quiet';
          if (answer.ok) resolve(answer.value);
          else reject(FrotaError.from(answer.error));
          return undefined;
        });
        // The effect may have woken somebody else.
        return undefined;
      });
    });
  }

  sleep(durationMs: number): Promise<void> {
    return this.call(durationMs, () => undefined);
  }

  /** For what never answers a dead program. */
  never<T>(): Promise<T> {
    return new Promise(() => undefined);
  }
}

type Attempt<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

function attempt<T>(work: () => T): Attempt<T> {
  try {
    return { ok: true, value: work() };
  } catch (error) {
    return { ok: false, error };
  }
}
