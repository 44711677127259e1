/** One drill while it runs: its record, who follows it, and why it is to stop. */
import type { Drill } from '../../proto/domain/drill.ts';

export class LiveDrill {
  readonly #stop = new AbortController();
  readonly #listeners = new Set<() => void>();
  #drill: Drill;
  #reason: string | undefined;
  /** Resolves with its end; never rejects. */
  ended: Promise<Drill>;
  #end: (drill: Drill) => void = () => undefined;

  constructor(drill: Drill) {
    this.#drill = drill;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get drill(): Drill {
    return this.#drill;
  }

  /** Why it does not go on; undefined while it does. */
  get stopReason(): string | undefined {
    return this.#reason;
  }

  /** Aborts when it is to stop. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** The first reason counts. */
  stop(reason: string): void {
    this.#reason ??= reason;
    this.#stop.abort();
  }

  become(drill: Drill): void {
    this.#drill = drill;
    for (const listener of this.#listeners) listener();
    if (drill.state === 'ended') this.#end(drill);
  }

  async *follow(signal: AbortSignal): AsyncIterable<Drill> {
    let ring: () => void = () => undefined;
    const wake = (): void => ring();
    this.#listeners.add(wake);
    signal.addEventListener('abort', wake, { once: true });
    try {
      let told: Drill | undefined;
      while (!signal.aborted) {
        const now = this.#drill;
        if (now !== told) {
          told = now;
          yield now;
          if (now.state === 'ended') return;
          continue;
        }
        await new Promise<void>((resolve) => {
          ring = resolve;
        });
      }
    } finally {
      this.#listeners.delete(wake);
      signal.removeEventListener('abort', wake);
    }
  }
}
