/**
 * The simulation's only scheduler. Everything that happens is an event at a virtual instant; between two events all
 * promises that can settle have settled, so a run depends on nothing but its seed.
 */

/** `quiet`: nothing was settled or woken, so there is nothing to wait for before the next event. */
export type Handler = () => 'quiet' | undefined;

export interface Appointment {
  cancel(): void;
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  run: Handler | undefined;
}

/** More events than this at one instant are a loop that no time passes in. */
const maxEventsPerInstant = 100_000;

export class VirtualTime {
  readonly #settle: () => Promise<void>;
  readonly #heap: Event[] = [];
  #nowMs = 0;
  #order = 0;
  #events = 0;

  /** `settle` resolves when no promise is left that could settle by itself. */
  constructor(settle: () => Promise<void>) {
    this.#settle = settle;
  }

  /** Since the beginning of the run. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get events(): number {
    return this.#events;
  }

  after(delayMs: number, run: Handler): Appointment {
    // A delay that is no number means now, as it does to Node.
    const atMs = this.#nowMs + (delayMs > 0 ? delayMs : 0);
    const event: Event = { atMs, order: (this.#order += 1), run };
    this.#push(event);
    return {
      cancel: () => {
        event.run = undefined;
      },
    };
  }

  /** Until the time, or until `ended` says so; then the clock stands at that time. */
  async runUntil(untilMs: number, ended: () => boolean): Promise<void> {
    await this.#settle();
    let atThisInstant = 0;
    while (!ended()) {
      const event = this.#heap[0];
      if (event === undefined || event.atMs > untilMs) break;
      this.#pop();
      const { run } = event;
      if (run === undefined) continue;
      atThisInstant = event.atMs > this.#nowMs ? 0 : atThisInstant + 1;
      if (atThisInstant > maxEventsPerInstant) throw new Error('the simulation stands still: events without end');
      this.#nowMs = event.atMs;
      this.#events += 1;
      if (run() !== 'quiet') await this.#settle();
    }
    if (!ended()) this.#nowMs = untilMs;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let index = heap.push(event) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(event, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const [a, b] = [heap[left], heap[left + 1]];
      const below = b !== undefined && a !== undefined && isBefore(b, a) ? b : a;
      if (below === undefined || !isBefore(below, last)) break;
      heap[index] = below;
      index = below === a ? left : left + 1;
    }
    heap[index] = last;
  }
}

const isBefore = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
