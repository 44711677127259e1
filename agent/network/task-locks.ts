/** One operation at a time for each task; different tasks do not wait for each other. */
export class TaskLocks {
  readonly #tails = new Map<string, Promise<unknown>>();

  run<T>(taskId: string, operation: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(taskId) ?? Promise.resolve();
    // The caller sees its own failure; it does not concern the one who waits.
    const result = before.then(operation, operation);
    const forget = (): void => {
      if (this.#tails.get(taskId) === tail) this.#tails.delete(taskId);
    };
    const tail: Promise<void> = result.then(forget, forget);
    this.#tails.set(taskId, tail);
    return result;
  }
}
