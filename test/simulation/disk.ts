/**
 * A node's disk, as the agent's journal uses it: a record is replaced whole, and is durable once the call has returned.
 * A crash in the middle of a call may find it written or not. A lying disk (`loseLastWrites`) forgets what it promised.
 */
import { FrotaError } from '../../proto/base/errors.ts';
import type { Journal, RecordKind } from '../../agent/state/journal.ts';
import type { Life } from './life.ts';
import type { Random } from './random.ts';

/** One durable write, ms: fsync on a good disk, and on one that is busy. */
const writeMs = { min: 0.2, max: 3 };
const busy = { probability: 0.03, maxMs: 60 };
/** Writes that a lying disk can still forget. */
const maxForgettable = 6;

export class Disk {
  readonly #random: Random;
  /** By `kind/id`: JSON, as in the files of the real journal. */
  readonly #records = new Map<string, string>();
  #recent: { key: string; before: string | undefined }[] = [];
  full = false;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Keys of what is recorded now. */
  keys(kind: RecordKind): readonly string[] {
    return [...this.#records.keys()]
      .filter((key) => key.startsWith(`${kind}/`))
      .map((key) => key.slice(kind.length + 1));
  }

  /** @returns how many writes are forgotten, newest first. */
  loseLastWrites(): number {
    const lost = this.#recent.splice(-this.#random.int(1, maxForgettable)).reverse();
    for (const { key, before } of lost) {
      if (before === undefined) this.#records.delete(key);
      else this.#records.set(key, before);
    }
    this.#recent = [];
    return lost.length;
  }

  /** The journal as one run of the agent has it. */
  journal(life: Life): Journal {
    const tails = new Map<string, Promise<void>>();
    // Two writes of one record never overtake each other.
    const serial = (key: string, work: () => void): Promise<void> => {
      const mine = (tails.get(key) ?? Promise.resolve())
        .catch(() => undefined)
        .then(() => life.call(this.#takesMs(), work));
      tails.set(key, mine);
      return mine;
    };
    return {
      put: (kind, id, value) => {
        const text = JSON.stringify(value);
        return serial(`${kind}/${id}`, () => {
          if (this.full) throw new FrotaError('exhausted', 'no space left on device');
          this.#write(`${kind}/${id}`, text);
        });
      },
      delete: (kind, id) =>
        serial(`${kind}/${id}`, () => {
          this.#write(`${kind}/${id}`, undefined);
        }),
      load: (kind) =>
        life.call(this.#takesMs(), () =>
          [...this.#records]
            .filter(([key]) => key.startsWith(`${kind}/`))
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, text]) => ({ id: key.slice(kind.length + 1), value: JSON.parse(text) as unknown })),
        ),
    };
  }

  #write(key: string, text: string | undefined): void {
    this.#recent.push({ key, before: this.#records.get(key) });
    if (this.#recent.length > maxForgettable) this.#recent.shift();
    if (text === undefined) this.#records.delete(key);
    else this.#records.set(key, text);
  }

  #takesMs(): number {
    const usual = this.#random.between(writeMs.min, writeMs.max);
    return this.#random.chance(busy.probability) ? usual + this.#random.between(0, busy.maxMs) : usual;
  }
}
