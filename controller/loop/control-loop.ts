/** Wake → snapshot → plan → commit. Events only wake; what is done depends on the snapshot alone, so a lost wake costs a moment, never a task. */
import { describeError } from '../../proto/base/errors.ts';
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
  readonly clock: Clock;
  readonly newId: () => string;
  readonly hash: (text: string) => string;
  readonly logger: Logger;
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
  let reasons: ReadonlyMap<string, string> = new Map();
  let woken = true;
  let closed = false;
  let ring: () => void = () => undefined;
  let waiters: (() => void)[] = [];
  const listeners = new Set<() => void>();

  /** How long the loop may sleep after this pass, ms. */
  async function pass(): Promise<number> {
    const now = ports.clock.now();
    const liveness = ports.liveness();
    const plan = ports.plan(ports.snapshot(), { now, newId: ports.newId, liveness, hash: ports.hash });
    reasons = plan.reasons;
    if (plan.changes.length > 0) {
      const { conflicts } = await ports.commit(plan.changes);
      ports.logger.debug({ changes: plan.changes.length, conflicts }, 'pass');
      woken = true;
    }
    return plan.wakeAtMs === undefined ? idlePassMs : Math.min(idlePassMs, Math.max(0, plan.wakeAtMs - now.wallMs));
  }

  async function sleep(ms: number): Promise<void> {
    if (woken || closed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      ring = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    ring = () => undefined;
  }

  async function run(): Promise<void> {
    let sleepMs = 0;
    for (;;) {
      await sleep(sleepMs);
      if (closed) break;
      woken = false;
      const mine = waiters;
      waiters = [];
      try {
        sleepMs = await pass();
      } catch (error) {
        ports.logger.error({ error: describeError(error) }, 'a pass of the control loop failed');
        sleepMs = failedPassDelayMs;
        woken = false;
      }
      for (const resolve of mine) resolve();
      for (const listener of listeners) listener();
      // Lets what has arrived meanwhile be taken in before the next pass.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    for (const resolve of waiters) resolve();
  }

  const done = run();
  const wake = (): void => {
    woken = true;
    ring();
  };
  return {
    wake,
    reasons: () => reasons,
    passed: () =>
      new Promise((resolve) => {
        if (closed) {
          resolve();
          return;
        }
        waiters.push(resolve);
        wake();
      }),
    onPass: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: async () => {
      closed = true;
      ring();
      await done;
    },
  };
}
