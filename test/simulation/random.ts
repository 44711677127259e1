/** All chance in a simulation comes from one seed through here. */

/** sfc32 (Doty-Humphrey): small, fast, and good enough to choose faults with. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    this.#c = 0x9e3779b9;
    // Near seeds must not begin alike.
    for (let round = 0; round < 15; round += 1) this.next();
  }

  /** In [0, 1). */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return (sum >>> 0) / 2 ** 32;
  }

  /** A stream of its own, so that one part's use of chance does not shift another's. */
  fork(): Random {
    return new Random(this.int(0, 2 ** 31 - 1) * 2 ** 20 + this.int(0, 2 ** 20 - 1));
  }

  /** Both ends included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  between(min: number, max: number): number {
    return min + this.next() * (max - min);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[Math.floor(this.next() * items.length)] ?? items[0];
  }

  /** Undefined for an empty list. */
  pickAny<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.next() * items.length)];
  }

  /** Times between things that happen independently of each other. */
  exponential(mean: number): number {
    return -Math.log(1 - this.next()) * mean;
  }
}
