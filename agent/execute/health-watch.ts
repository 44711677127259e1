/** Checks one running container's health for as long as it runs; what the outcomes mean `agent/reconcile` says. */
import { describeError } from '../../proto/base/errors.ts';
import type { Clock } from '../../proto/base/clock.ts';
import { pause } from '../../proto/base/pause.ts';
import { afterCheck, delayToNextCheckMs, outcomeOf } from '../reconcile/health.ts';
import type { CheckOutcome, ContainerCheck, HealthState } from '../reconcile/health.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { CheckTurns } from './check-turns.ts';

export interface HealthWatchOptions {
  readonly containerId: string;
  readonly check: ContainerCheck;
  readonly state: HealthState;
  /** How long the container has been running. */
  readonly runningForMs: number;
  readonly runtime: Pick<Runtime, 'execCaptured'>;
  readonly turns: CheckTurns;
  readonly clock: Clock;
  readonly onChecked: (state: HealthState) => void;
}

/** One line of it is ever told. */
const maxOutputBytes = 16 * 1024;

export class HealthWatch {
  readonly #options: HealthWatchOptions;
  readonly #abort = new AbortController();
  readonly #startedAtMs: number;
  readonly #loop: Promise<void>;
  #state: HealthState;

  constructor(options: HealthWatchOptions) {
    this.#options = options;
    this.#state = options.state;
    this.#startedAtMs = options.clock.now().monoMs - options.runningForMs;
    this.#loop = this.#run();
  }

  get state(): HealthState {
    return this.#state;
  }

  /** Checks no more; a check that runs is ended. Never rejects. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const { check, clock, turns, onChecked } = this.#options;
    while (!signal.aborted) {
      const begun = { afterMs: 0 };
      const outcome = await turns.take(() => {
        begun.afterMs = clock.now().monoMs - this.#startedAtMs;
        return this.#check();
      }, signal);
      // Aborted by now, too, when the check was cut short: that says nothing about the container.
      if (outcome === undefined || this.#abort.signal.aborted) return;
      this.#state = afterCheck(this.#state, outcome, check, begun.afterMs);
      onChecked(this.#state);
      await pause(delayToNextCheckMs(this.#state, check), signal);
    }
  }

  async #check(): Promise<CheckOutcome> {
    const { runtime, containerId, check } = this.#options;
    // One for each check: signals derived from one that lives as long as the container would gather there, check after check.
    const own = new AbortController();
    const end = (): void => {
      own.abort();
    };
    this.#abort.signal.addEventListener('abort', end, { once: true });
    try {
      const limits = { timeoutMs: check.timeoutMs, maxOutputBytes };
      const result = await runtime.execCaptured(containerId, { args: check.args }, limits, own.signal);
      return outcomeOf(result, check.timeoutMs);
    } catch (error) {
      // It can't be run at all: no such program, no shell in the image.
      return { kind: 'failed', why: `it cannot be run: ${describeError(error)}` };
    } finally {
      this.#abort.signal.removeEventListener('abort', end);
    }
  }
}
