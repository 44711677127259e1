/** How often each thing was done to the cluster, so that nobody believes a simulation in which nothing happens. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(what: string, count = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + count);
  }

  addAll(other: Tally): void {
    for (const [what, count] of other.entries()) this.add(what, count);
  }

  of(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** By name. */
  entries(): readonly (readonly [string, number])[] {
    return [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}
