/**
 * The guard of a machine's fenced tasks: a process beside the agent that goes by the lease files, as the shell of
 * `agent/fencing/guard.ts` does. The agent's side of it (asking, dating, arming, waking it) is the real code.
 */
import type { LeaseGuard, LeaseStore } from '../../agent/fencing/task-leases.ts';
import { bootClockStepMs } from '../../agent/fencing/boot-clock.ts';
import type { Life } from './life.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Between two looks, ms: a sleep of a tenth of a second, the look itself, and now and then a busy machine. */
const lookEveryMs = { min: 100, max: 130 };
const busy = { probability: 0.03, maxMs: 150 };
/** From the look to the end of the last process, ms. */
const killTakesMs = { min: 1, max: 30 };
/** A shell starts, ms. */
const startMs = { min: 5, max: 60 };
/** As the real one's. */
const staleMs = 700;
const confirmWithinMs = 3_000;
const pollMs = 20;

/** What it sees of its machine and does to it. */
export interface GuardedMachine {
  /** When the lease of each fenced task ends, on the boot clock, ms. */
  readonly leaseFiles: Map<string, number>;
  bootMs(): number;
  /** @returns whether there was something to kill. */
  killByGuard(taskId: string): boolean;
}

export class Guard {
  readonly #machine: GuardedMachine;
  readonly #time: VirtualTime;
  readonly #random: Random;
  /** Raised with each start and end: looks of an earlier one do not happen. */
  #generation = 0;
  #lastLookMs = -Infinity;
  #runs = false;

  constructor(machine: GuardedMachine, time: VirtualTime, random: Random) {
    this.#machine = machine;
    this.#time = time;
    this.#random = random;
  }

  get runs(): boolean {
    return this.#runs;
  }

  /** When its last look began, on the machine's boot clock. */
  get lastLookMs(): number {
    return this.#lastLookMs;
  }

  get isAwake(): boolean {
    return this.#lastLookMs + staleMs > this.#machine.bootMs();
  }

  start(): void {
    this.end();
    this.#runs = true;
    this.#lookAfter(this.#random.between(startMs.min, startMs.max));
  }

  /** Its last look stays written. */
  end(): void {
    this.#generation += 1;
    this.#runs = false;
  }

  /** Everything that memory held is gone. */
  cutPower(): void {
    this.end();
    this.#lastLookMs = -Infinity;
  }

  #lookAfter(delayMs: number): void {
    const generation = this.#generation;
    this.#time.after(delayMs, () => {
      if (generation !== this.#generation) return 'quiet';
      this.#look();
      const lateMs = this.#random.chance(busy.probability) ? this.#random.between(0, busy.maxMs) : 0;
      this.#lookAfter(this.#random.between(lookEveryMs.min, lookEveryMs.max) + lateMs);
      return 'quiet';
    });
  }

  #look(): void {
    const nowMs = this.#machine.bootMs();
    this.#lastLookMs = nowMs;
    for (const [taskId, untilMs] of this.#machine.leaseFiles) {
      if (nowMs < untilMs) continue;
      this.#time.after(this.#random.between(killTakesMs.min, killTakesMs.max), () => {
        return this.#machine.killByGuard(taskId) ? undefined : 'quiet';
      });
    }
  }
}

/** The lease files as one run of the agent has them: in memory, for the life of this boot. */
export const leaseFilesOf = (machine: GuardedMachine, life: Life): LeaseStore => ({
  read: () => new Map(machine.leaseFiles),
  write: (taskId, untilMs) => {
    if (life.alive) machine.leaseFiles.set(taskId, Math.floor(untilMs / bootClockStepMs) * bootClockStepMs);
  },
  remove: (taskId) => {
    if (life.alive) machine.leaseFiles.delete(taskId);
  },
});

/** The guard as one run of the agent reaches it. */
export function guardOf(machine: GuardedMachine & { readonly guard: Guard }, life: Life, tally: Tally): LeaseGuard {
  const { guard } = machine;
  return {
    get isAwake() {
      return guard.isAwake;
    },
    confirm: async () => {
      const sinceMs = machine.bootMs();
      if (!guard.isAwake) {
        await life.call(1, () => {
          guard.start();
          tally.add('guards started');
        });
      }
      while (machine.bootMs() < sinceMs + confirmWithinMs) {
        if (guard.lastLookMs > sinceMs + bootClockStepMs) return true;
        await life.sleep(pollMs);
      }
      return false;
    },
    stop: () =>
      life.call(1, () => {
        guard.end();
      }),
  };
}
