/**
 * The leases of this node's fenced tasks. Asked for over the session, several times in a lease; an answer counts from when the question was
 * sent. Who runs under one is in a lease file, which the guard goes by whatever becomes of this process.
 */
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { pause } from '../../proto/base/pause.ts';
import type { LeaseGrant } from '../../proto/codec/dispatch.ts';
import type { AssignedTask } from '../../proto/domain/assignment.ts';
import { renewalIntervalMs } from '../../proto/domain/fencing.ts';

export interface LeaseGuard {
  /** It has looked a moment ago. */
  readonly isAwake: boolean;
  /** It has looked at the files as they are now; it is started if it does not run. False: it can't be. */
  confirm(): Promise<boolean>;
  stop(): Promise<void>;
}

export interface LeaseStore {
  read(): ReadonlyMap<string, number>;
  write(taskId: string, untilMs: number): void;
  remove(taskId: string): void;
}

export interface TaskLeasesPorts {
  readonly files: LeaseStore;
  readonly guard: LeaseGuard;
  /** All tasks of this node, as assigned. */
  readonly assigned: () => readonly AssignedTask[];
  /** Sends the question; false: there is no session. */
  readonly ask: (number: number) => boolean;
  /** Kills the container, whatever it is doing. */
  readonly kill: (taskId: string) => Promise<void>;
  /** Milliseconds since boot. */
  readonly bootMs: () => number;
  readonly logger: Logger;
}

/** How often it is seen whether a lease is to be asked for, and whether the guard looks. */
const tickMs = 100;
/** An answer that comes later than this many questions after its own is worth nothing any more. */
const maxQuestions = 16;
/** While a task waits to be started it is asked this often. */
const startPollMs = 50;
const firstQuestionMs = 250;

export class TaskLeases {
  readonly #ports: TaskLeasesPorts;
  /** By task id: until when it may run. */
  readonly #untilMs = new Map<string, number>();
  /** Those that have a file. */
  readonly #guarded = new Set<string>();
  /** By number: when it was sent. */
  readonly #questions = new Map<number, number>();
  readonly #timer: NodeJS.Timeout;
  #number = 0;
  #askedAtMs = -Infinity;
  #watching: Promise<void> | undefined;

  constructor(ports: TaskLeasesPorts) {
    this.#ports = ports;
    for (const [id, untilMs] of ports.files.read()) {
      this.#untilMs.set(id, untilMs);
      this.#guarded.add(id);
    }
    this.#timer = setInterval(() => {
      this.tick();
    }, tickMs);
  }

  /** It may be started, and is killed in time if this node loses its controller in the same moment. */
  holds(taskId: string): boolean {
    return this.#isValid(taskId) && this.#guarded.has(taskId) && this.#ports.guard.isAwake;
  }

  /** It had a lease, which has ended. */
  hasEnded(taskId: string): boolean {
    return this.#untilMs.has(taskId) && !this.#isValid(taskId);
  }

  isGuarded(taskId: string): boolean {
    return this.#guarded.has(taskId);
  }

  /**
   * Resolves when the task has a lease and the guard knows of it. To be called once its container is made: from here on
   * the guard kills it whenever the lease ends, started or not. @throws FrotaError `cancelled`, `unavailable` without a guard.
   */
  async arm({ id }: AssignedTask, signal: AbortSignal): Promise<void> {
    for (;;) {
      if (signal.aborted) throw new FrotaError('cancelled', 'the task is no longer wanted');
      const untilMs = this.#untilMs.get(id);
      if (untilMs !== undefined && this.#isValid(id)) {
        this.#ports.files.write(id, untilMs);
        this.#guarded.add(id);
        if (await this.#ports.guard.confirm()) return;
        throw new FrotaError('unavailable', 'its node has no guard for fenced tasks');
      }
      if (this.#ports.bootMs() >= this.#askedAtMs + firstQuestionMs) this.#ask();
      await pause(startPollMs, signal);
    }
  }

  /** Nothing of the task is left. */
  async release(taskId: string): Promise<void> {
    this.#ports.files.remove(taskId);
    this.#untilMs.delete(taskId);
    if (this.#guarded.delete(taskId) && this.#guarded.size === 0) await this.#ports.guard.stop();
  }

  granted({ number, taskIds }: LeaseGrant): void {
    const sentAtMs = this.#questions.get(number);
    if (sentAtMs === undefined) return;
    const named = new Set(taskIds);
    for (const { id, fence, template } of this.#ports.assigned()) {
      if (fence === undefined || template.fenceLeaseMs === undefined || !named.has(id)) continue;
      const untilMs = Math.max(this.#untilMs.get(id) ?? 0, sentAtMs + template.fenceLeaseMs);
      this.#untilMs.set(id, untilMs);
      if (this.#guarded.has(id)) this.#ports.files.write(id, untilMs);
    }
  }

  tick(): void {
    try {
      if (this.#ports.bootMs() >= this.#askedAtMs + this.#intervalMs()) this.#ask();
    } catch (error) {
      this.#ports.logger.error({ error: describeError(error) }, 'leases cannot be asked for');
    }
    if (this.#guarded.size > 0 && !this.#ports.guard.isAwake) {
      this.#watching ??= this.#wakeGuard().finally(() => (this.#watching = undefined));
    }
  }

  /** Containers, their leases and the guard stay. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#watching;
  }

  #isValid(taskId: string): boolean {
    return (this.#untilMs.get(taskId) ?? 0) > this.#ports.bootMs();
  }

  #intervalMs(): number {
    const leases = this.#ports
      .assigned()
      .flatMap(({ fence, template: { fenceLeaseMs } }) =>
        fence === undefined || fenceLeaseMs === undefined ? [] : [fenceLeaseMs],
      );
    return renewalIntervalMs(Math.min(...leases));
  }

  #ask(): void {
    const number = this.#number + 1;
    // Before it is sent: whatever time that takes is the lease's.
    const sentAtMs = this.#ports.bootMs();
    if (!this.#ports.ask(number)) return;
    this.#number = number;
    this.#askedAtMs = sentAtMs;
    this.#questions.set(number, sentAtMs);
    this.#questions.delete(number - maxQuestions);
  }

  /** Never rejects. */
  async #wakeGuard(): Promise<void> {
    this.#ports.logger.warn({}, 'the guard of fenced tasks is gone; another is started');
    if (await this.#ports.guard.confirm()) return;
    for (const id of this.#guarded) {
      this.#ports.logger.error({ taskId: id }, 'killed: a fenced task does not run without a guard');
      await this.#ports.kill(id).catch((error: unknown) => {
        this.#ports.logger.error({ taskId: id, error: describeError(error) }, 'cannot be killed');
      });
    }
  }
}
