/**
 * Hosts, and what lies between them: delays, loss, cuts in one direction or both. Datagrams may be lost or doubled;
 * streams (`stream.ts`) are in order and lose nothing until they break, as TCP's do.
 */
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A quiet local network, ms one way. */
const latencyMs = { min: 0.1, max: 1.5 };
/** Now and then a packet waits: a busy switch, a retransmission. */
const spike = { probability: 0.02, maxMs: 80 };

export interface Weather {
  /** Probability that a datagram is lost, and that it comes twice. */
  readonly loss: number;
  readonly doubling: number;
  /** Added to every way, at the most, ms. */
  readonly slownessMs: number;
}

export const fairWeather: Weather = { loss: 0, doubling: 0, slownessMs: 0 };

export class Network {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #tally: Tally;
  /** Directed ways that are cut, each as often as it was cut. */
  readonly #cuts = new Map<string, number>();
  readonly #off = new Set<string>();
  /** Hosts whose program is frozen: what is sent to it waits. */
  /** Hosts whose datagrams are dropped somewhere, by direction, each as often as that was begun. */
  readonly #undeliverable = new Map<string, number>();
  readonly #frozen = new Set<string>();
  readonly #listeners = new Set<() => void>();
  weather: Weather = fairWeather;

  constructor(time: VirtualTime, random: Random, tally: Tally) {
    this.#time = time;
    this.#random = random;
    this.#tally = tally;
  }

  isOpen(from: string, to: string): boolean {
    if (this.#off.has(from) || this.#off.has(to) || this.#frozen.has(from) || this.#frozen.has(to)) return false;
    return (this.#cuts.get(way(from, to)) ?? 0) === 0;
  }

  /** Nothing goes `from` one `to` the other until the returned function is called. */
  cut(from: string, to: string): () => void {
    const key = way(from, to);
    this.#cuts.set(key, (this.#cuts.get(key) ?? 0) + 1);
    this.#changed();
    let over = false;
    return () => {
      if (over) return;
      over = true;
      this.#cuts.set(key, (this.#cuts.get(key) ?? 1) - 1);
      this.#changed();
    };
  }

  /** As a firewall that lets no UDP through; streams go on. Until the returned function is called. */
  blockDatagrams(host: string, ways: { readonly from: boolean; readonly into: boolean }): () => void {
    const keys = [...(ways.from ? [way(host, '')] : []), ...(ways.into ? [way('', host)] : [])];
    const add = (count: number): void => {
      for (const key of keys) this.#undeliverable.set(key, (this.#undeliverable.get(key) ?? 0) + count);
    };
    add(1);
    let over = false;
    return () => {
      if (!over) add(-1);
      over = true;
    };
  }

  setFrozen(host: string, frozen: boolean): void {
    if (frozen === this.#frozen.has(host)) return;
    if (frozen) this.#frozen.add(host);
    else this.#frozen.delete(host);
    this.#changed();
  }

  setPower(host: string, on: boolean): void {
    if (on) this.#off.delete(host);
    else this.#off.add(host);
    this.#changed();
  }

  /** Called whenever a way may have been cut or opened, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  latencyMs(): number {
    const { slownessMs } = this.weather;
    const usual = this.#random.between(latencyMs.min, latencyMs.max);
    const waits = this.#random.chance(spike.probability) ? this.#random.between(0, spike.maxMs) : 0;
    return usual + waits + (slownessMs > 0 ? this.#random.between(0, slownessMs) : 0);
  }

  /** `deliver` says whether it settled or woke anything, as an event does. */
  datagram(from: string, to: string, deliver: () => 'quiet' | undefined): void {
    const isBlocked = [way(from, ''), way('', to)].some((key) => (this.#undeliverable.get(key) ?? 0) > 0);
    if (isBlocked || this.#random.chance(this.weather.loss)) {
      this.#tally.add('datagrams lost');
      return;
    }
    const copies = this.#random.chance(this.weather.doubling) ? 2 : 1;
    if (copies === 2) this.#tally.add('datagrams doubled');
    for (let copy = 0; copy < copies; copy += 1) {
      this.#time.after(this.latencyMs(), () => (this.isOpen(from, to) ? deliver() : 'quiet'));
    }
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

const way = (from: string, to: string): string => `${from}>${to}`;
