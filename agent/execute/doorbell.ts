/** What a mailbox sleeps by: until somebody rings, or for a while. A ring between two sleeps is not lost. */
export class Doorbell {
  #rung = false;
  #wake: () => void = () => undefined;

  ring(): void {
    this.#rung = true;
    this.#wake();
  }

  /** From here on a ring counts for the next `wait`; whoever asks looks at everything afterwards. */
  answer(): void {
    this.#rung = false;
  }

  /** Resolves at the next ring, or after `ms`; at once if it has rung since `answer`. */
  async wait(ms: number | undefined): Promise<void> {
    if (this.#rung) return;
    await new Promise<void>((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, Math.max(0, ms));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => undefined;
  }
}
