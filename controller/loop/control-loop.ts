/** Wake → snapshot → plan → commit. Events only wake; what is done depends on the snapshot alone, so a lost wake costs a moment, never a task. */
import { describeError } from '../../proto/base/errors.ts';
import type { Problem } from '../../proto/base/errors.ts';
import type { Clock } from '../../proto/base/clock.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import type { Change, Plan, PlanInput, Snapshot } from '../plan/snapshot.ts';

export interface LoopPorts {
  readonly snapshot: () => Snapshot;
  readonly liveness: () => ReadonlyMap<string, NodeLiveness>;
  readonly plan: (snapshot: Snapshot, input: PlanInput) => Plan;
  /** Resolves when the changes are durable and the snapshot shows them. */
  readonly commit: (changes: readonly Change[]) => Promise<{ readonly conflicts: number }>;
  /** What has just been committed, and when it was planned; wall times. */
  readonly onCommitted?: (changes: readonly Change[], times: CommitTimes) => void;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly hash: (text: string) => string;
  readonly logger: Logger;
}

export interface CommitTimes {
  readonly plannedAtMs: number;
  readonly committedAtMs: number;
}

export interface ControlLoop {
  /** Something may have changed. Cheap; many wakes make one pass. */
  wake(): void;
  /** By task id: why it has no node, as of the last pass. */
  reasons(): ReadonlyMap<string, string>;
  /** Resolves when a pass that began after this call has ended. */
  passed(): Promise<void>;
  /** Called after each pass, until the returned function is called. */
  onPass(listener: () => void): () => void;
  close(): Promise<void>;
}

/** Without an event the loop still looks this often: a bound on what a missed wake can cost. */
const idlePassMs = 5_000;
/** After a failed pass (the store does not answer) the next one waits this long. */
const failedPassDelayMs = 500;

export function startControlLoop(ports: LoopPorts): ControlLoop {
  return new Loop(ports);
}

class Loop implements ControlLoop {
  readonly #ports: LoopPorts;
  readonly #done: Promise<void>;
  readonly #listeners = new Set<() => void>();
  #reasons: ReadonlyMap<string, string> = new Map();
  #waiters: (() => void)[] = [];
  #told: ReadonlySet<string> = new Set();
  #woken = true;
  #closed = false;
  #ring: () => void = () => undefined;

  constructor(ports: LoopPorts) {
    this.#ports = ports;
    this.#done = this.#run();
  }

  wake(): void {
    this.#woken = true;
    this.#ring();
  }

  reasons(): ReadonlyMap<string, string> {
    return this.#reasons;
  }

  passed(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.wake();
    });
  }

  onPass(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#ring();
    await this.#done;
  }

  async #run(): Promise<void> {
    for (let sleepMs = 0; ;) {
      await this.#sleep(sleepMs);
      if (this.#closed) break;
      this.#woken = false;
      const waiters = this.#waiters;
      this.#waiters = [];
      try {
        sleepMs = await this.#pass();
      } catch (error) {
        this.#ports.logger.error({ error: describeError(error) }, 'a pass of the control loop failed');
        sleepMs = failedPassDelayMs;
        this.#woken = false;
      }
      for (const resolve of waiters) resolve();
      for (const listener of this.#listeners) listener();
      // Lets what has arrived meanwhile be taken in before the next pass.
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
    }
    for (const resolve of this.#waiters) resolve();
  }

  /** @returns how long the loop may sleep after this pass, ms. */
  async #pass(): Promise<number> {
    const { clock, newId, hash, logger } = this.#ports;
    const now = clock.now();
    const plan = this.#ports.plan(this.#ports.snapshot(), { now, newId, liveness: this.#ports.liveness(), hash });
    this.#reasons = plan.reasons;
    this.#tellProblems(plan.problems ?? []);
    if (plan.changes.length > 0) {
      const plannedAtMs = clock.now().wallMs;
      const { conflicts } = await this.#ports.commit(plan.changes);
      this.#ports.onCommitted?.(plan.changes, { plannedAtMs, committedAtMs: clock.now().wallMs });
      logger.debug({ changes: plan.changes.length, conflicts }, 'pass');
      this.#woken = true;
    }
    return plan.wakeAtMs === undefined ? idlePassMs : Math.min(idlePassMs, Math.max(0, plan.wakeAtMs - now.wallMs));
  }

  /** Once, when it comes up: a problem can last for months of passes. The number in a countdown makes it no other. */
  #tellProblems(problems: readonly Problem[]): void {
    const texts = new Map(
      problems.map(({ where, message }) => [`${where} ${message.replaceAll(/\d+ s$/g, '')}`, { where, message }]),
    );
    for (const [text, { where, message }] of texts) {
      if (!this.#told.has(text)) this.#ports.logger.warn({ where }, message);
    }
    this.#told = new Set(texts.keys());
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#woken || this.#closed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#ring = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#ring = () => undefined;
  }
}
