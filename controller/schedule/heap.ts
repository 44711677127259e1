/** A binary heap: what comes first by `compare` is at the top. Only the top may change its rank, and says so with `sink`. */
export class Heap<T> {
  readonly #items: T[];
  readonly #compare: (a: T, b: T) => number;

  /** Takes the array over. */
  constructor(items: T[], compare: (a: T, b: T) => number) {
    this.#items = items;
    this.#compare = compare;
    for (let index = (items.length >> 1) - 1; index >= 0; index -= 1) this.#sinkFrom(index);
  }

  get top(): T | undefined {
    return this.#items[0];
  }

  get size(): number {
    return this.#items.length;
  }

  /** The top ranks lower than it did. */
  sink(): void {
    this.#sinkFrom(0);
  }

  push(item: T): void {
    const items = this.#items;
    let index = items.length;
    items.push(item);
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = items[parentIndex];
      if (parent === undefined || this.#compare(parent, item) <= 0) break;
      items[index] = parent;
      index = parentIndex;
    }
    items[index] = item;
  }

  drop(): void {
    const last = this.#items.pop();
    if (last === undefined || this.#items.length === 0) return;
    this.#items[0] = last;
    this.#sinkFrom(0);
  }

  #sinkFrom(start: number): void {
    const items = this.#items;
    const moving = items[start];
    if (moving === undefined) return;
    let index = start;
    for (;;) {
      let childIndex = 2 * index + 1;
      let child = items[childIndex];
      if (child === undefined) break;
      const right = items[childIndex + 1];
      if (right !== undefined && this.#compare(right, child) < 0) {
        child = right;
        childIndex += 1;
      }
      if (this.#compare(moving, child) <= 0) break;
      items[index] = child;
      index = childIndex;
    }
    items[index] = moving;
  }
}
