/** One task's health: checked while its container runs, and what of it is still to be told. */
import type { Clock } from '../../proto/base/clock.ts';
import { isHealthNews, newHealth } from '../reconcile/health.ts';
import type { ContainerCheck, HealthState } from '../reconcile/health.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { CheckTurns } from './check-turns.ts';
import { HealthWatch } from './health-watch.ts';

export interface TaskHealthPorts {
  readonly runtime: Pick<Runtime, 'execCaptured'>;
  readonly checkTurns: CheckTurns;
  readonly clock: Clock;
}

export class TaskHealth {
  readonly #ports: TaskHealthPorts;
  readonly #onNews: () => void;
  #told: HealthState = newHealth;
  #watch: HealthWatch | undefined;

  constructor(ports: TaskHealthPorts, onNews: () => void) {
    this.#ports = ports;
    this.#onNews = onNews;
  }

  /** From the start of the container, or from its adoption on: `told` is then what was last told of it. */
  begin(containerId: string, check: ContainerCheck, startedAtMs: number, told: HealthState = newHealth): void {
    const { runtime, checkTurns: turns, clock } = this.#ports;
    this.#told = told;
    this.#watch = new HealthWatch({
      containerId,
      check,
      state: told,
      // By the wall clock, which may have been set back since.
      runningForMs: Math.max(0, clock.now().wallMs - startedAtMs),
      runtime,
      turns,
      clock,
      onChecked: () => {
        if (this.hasNews) this.#onNews();
      },
    });
  }

  get hasNews(): boolean {
    return this.#watch !== undefined && isHealthNews(this.#told, this.#watch.state);
  }

  /** The health as it is now; it counts as told. */
  takeNews(): HealthState {
    this.#told = this.#watch?.state ?? this.#told;
    return this.#told;
  }

  /** No more checks from this call on; resolves when the last has ended. Never rejects. */
  async stop(): Promise<void> {
    await this.#watch?.stop();
  }
}
