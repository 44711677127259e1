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
  /** What waits for the thaw; undefined: it is not frozen. */
  #held: (() => void)[] | undefined;

  constructor(name: string, time: VirtualTime, random: Random) {
    this.name = name;
    this.#time = time;
    this.#random = random;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get frozen(): boolean {
    return this.#held !== undefined;
  }

  /** As SIGSTOP: nothing of it happens until it is thawed. What has reached the kernel is done; its answer waits. */
  freeze(): void {
    this.#held ??= [];
  }

  thaw(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const work of held) work();
  }

  /** Now, or once it is thawed. */
  whenAwake(work: () => void): void {
    if (this.#held === undefined) work();
    else this.#held.push(work);
  }

  /** Runs once, when the program is gone; for what the world holds of it. */
  onEnd(work: () => void): void {
    if (this.#alive) this.#ends.push(work);
    else work();
  }

  end(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#held = undefined;
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
      this.#later(effectMs, () => {
        const answer = attempt(effect);
        this.#later(durationMs - effectMs, () => {
          if (answer.ok) resolve(answer.value);
          else reject(FrotaError.from(answer.error));
        });
      });
    });
  }

  #later(delayMs: number, work: () => void): void {
    this.#time.after(delayMs, () => {
      if (!this.#alive) return 'quiet';
      this.whenAwake(work);
      // The effect may have woken somebody else.
      return undefined;
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
