/** One direction of a stream in memory, as gRPC gives it: messages wait for their reader, an end or a failure comes behind them. */
type Step<T> = { readonly kind: 'value'; readonly value: T } | { readonly kind: 'failure'; readonly error: Error };

export class Channel<T> implements AsyncIterable<T> {
  readonly #steps: Step<T>[] = [];
  #ended = false;
  #ring: () => void = () => undefined;

  put(value: T): void {
    this.#steps.push({ kind: 'value', value });
    this.#ring();
  }

  fail(error: Error): void {
    this.#steps.push({ kind: 'failure', error });
    this.#ring();
  }

  end(): void {
    this.#ended = true;
    this.#ring();
  }

  /** How many messages nobody has taken yet. */
  get waiting(): number {
    return this.#steps.length;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const step = this.#steps.shift();
      if (step === undefined) {
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#ring = resolve;
        });
      } else if (step.kind === 'failure') throw step.error;
      else yield step.value;
    }
  }
}
