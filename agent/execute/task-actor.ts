/**
 * One task's serial mailbox: asks `reconcile` for the next step, does it, asks again. Nothing else touches the task's
 * container, network or record. Closing an actor leaves its container running: that is what adoption builds on.
 */
import { describeError } from '../../proto/base/errors.ts';
import type { AssignedTask } from '../../proto/domain/assignment.ts';
import type { TaskState, TaskStatus } from '../../proto/domain/task.ts';
import { containerCheck, healthReason } from '../reconcile/health.ts';
import { beginning, interruptible, nextStep } from '../reconcile/task-step.ts';
import type { LocalTask, ObservedContainer, Step, TaskEnd } from '../reconcile/task-step.ts';
import type { Image } from '../images/images.ts';
import type { Attachment } from '../network/network.ts';
import type { Container, ContainerExit } from '../runtime/runtime.ts';
import { Doorbell } from './doorbell.ts';
import { withLastOutput } from './last-output.ts';
import { makeContainer } from './make-container.ts';
import { endFields, endingOf, initialStatus, observedContainer, orAborted } from './observed.ts';
import type { ActorPorts, TaskRecord } from './ports.ts';
import { pullImage } from './pull-image.ts';
import { TaskHealth } from './task-health.ts';
import { JournaledRecord } from './task-record.ts';

/** A step that must succeed in the end (stop, release, record) is tried again after this long. */
const retryDelayMs = 1_000;

/** 128 + SIGKILL */
const killedExitCode = 137;

type Executors = { readonly [K in Step['kind']]: (step: Extract<Step, { kind: K }>) => Promise<void> };

export interface Observed {
  readonly container: Container | undefined;
  readonly attachment: Attachment | undefined;
}

export class TaskActor {
  readonly #ports: ActorPorts;
  readonly #record: JournaledRecord;
  #wanted: AssignedTask | undefined;
  #mayStart = false;
  #container: ObservedContainer;
  readonly #health: TaskHealth;
  #killSent = false;
  #attachment: Attachment | undefined;
  #image: Image | undefined;
  #status: TaskStatus;
  #current: { kind: Step['kind']; abort: AbortController } | undefined;
  #closed = false;
  #forgotten = false;
  readonly #bell = new Doorbell();
  readonly #loop: Promise<void>;

  constructor(ports: ActorPorts, record: TaskRecord, observed: Observed, wanted: AssignedTask | undefined) {
    this.#ports = ports;
    this.#record = new JournaledRecord(ports, record);
    this.#wanted = wanted;
    this.#attachment = observed.attachment;
    this.#container = observedContainer(record, observed.container);
    this.#status = initialStatus(record, observed.container, this.#nowMs());
    this.#health = new TaskHealth(ports, () => {
      this.wake();
    });
    if (this.#container.kind === 'running' && record.stopSentAtMs === undefined) this.#checkHealth();
    this.#loop = this.#run();
  }

  get status(): TaskStatus {
    return this.#status;
  }

  get assigned(): AssignedTask {
    return this.#record.current.assigned;
  }

  get record(): JournaledRecord {
    return this.#record;
  }

  /** As it is to be now. */
  get wanted(): AssignedTask | undefined {
    return this.#wanted;
  }

  setWanted(wanted: AssignedTask | undefined): void {
    const before = this.#wanted?.desired;
    this.#wanted = wanted;
    if (before === wanted?.desired) return;
    if (wanted?.desired !== 'running' && this.#current !== undefined && interruptible.has(this.#current.kind)) {
      this.#current.abort.abort();
    }
    this.wake();
  }

  allowStart(): void {
    if (this.#mayStart) return;
    this.#mayStart = true;
    this.wake();
  }

  containerEnded(exit: ContainerExit): void {
    this.#container = { kind: 'ended', ...exit };
    void this.#health.stop();
    this.wake();
  }

  wake(): void {
    this.#bell.ring();
  }

  /** Ends the mailbox; what runs keeps running. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#current !== undefined && interruptible.has(this.#current.kind)) this.#current.abort.abort();
    this.wake();
    await this.#loop;
    await this.#health.stop();
  }

  async #run(): Promise<void> {
    while (!this.#closed && !this.#forgotten) {
      this.#bell.answer();
      const { stopGracePeriodMs, drainDelayMs } = this.assigned.template;
      const step = nextStep(this.#local(), {
        wanted: this.#wanted,
        stopGracePeriodMs,
        // What never came to run was never led to.
        drainDelayMs: this.#status.state === 'running' ? drainDelayMs : 0,
        mayStart: this.#mayStart,
        nowMs: this.#nowMs(),
      });
      if (step.kind === 'wait')
        await this.#bell.wait(step.untilMs === undefined ? undefined : step.untilMs - this.#nowMs());
      else await this.#perform(step);
    }
  }

  async #perform(step: Step): Promise<void> {
    const current = { kind: step.kind, abort: new AbortController() };
    this.#current = current;
    try {
      await (this.#executors[step.kind] as (step: Step) => Promise<void>)(step);
    } catch (error) {
      await this.#failed(step, error, current.abort.signal.aborted);
    } finally {
      this.#current = undefined;
    }
  }

  async #failed(step: Step, error: unknown, aborted: boolean): Promise<void> {
    const { id } = this.assigned;
    if (aborted) return;
    this.#ports.logger.warn({ taskId: id, step: step.kind, error: describeError(error) }, 'step failed');
    if (!beginning.has(step.kind)) {
      await this.#bell.wait(retryDelayMs);
      return;
    }
    // What a failed start left of the container goes in `release`; the end is recorded even if the disk is full.
    if (step.kind === 'start' || step.kind === 'arm') this.#container = { kind: 'created' };
    await this.#recordEnd({ state: 'rejected', reason: describeError(error), finishedAtMs: this.#nowMs() }).catch(
      (journalError: unknown) => {
        this.#ports.logger.error(
          { taskId: id, error: describeError(journalError) },
          'cannot record how the task ended',
        );
      },
    );
  }

  readonly #executors: Executors = {
    pull: async () => {
      this.#report('preparing', { reason: 'pulling the image' });
      this.#image = await this.#ensureImage();
    },
    attach: async () => {
      this.#report('preparing', { reason: 'making its network' });
      await orAborted(this.#ports.networkReady(), this.#signal());
      this.#attachment = await this.#attach();
      this.#ports.logger.debug({ taskId: this.assigned.id, address: this.#attachment.address }, 'attached');
    },
    create: () => this.#create(),
    arm: async () => {
      this.#report('ready', { reason: 'waits for its lease' });
      await this.#ports.leases.arm(this.assigned, this.#signal());
    },
    start: () => this.#start(),
    'tell-health': () => this.#tellHealth(),
    // Journaled, so that an agent that starts again does not wait anew.
    'note-drained': () =>
      this.#record.saveIfPossible({ drainedAtMs: this.#nowMs() }, 'that it has left names and ports is not journaled'),
    stop: () => this.#stop(),
    kill: async () => {
      await this.#ports.runtime.kill(this.assigned.id, 'SIGKILL');
      this.#killSent = true;
    },
    finish: (step) => this.#recordEnd(step.end),
    release: async () => {
      const { id } = this.assigned;
      // On a full disk it is the removal that makes room for the record.
      const before = await this.#record.saveEnd().catch((error: unknown) => error);
      await this.#health.stop();
      await this.#ports.runtime.remove(id);
      this.#container = { kind: 'absent' };
      await this.#ports.files.remove(id);
      // Its secrets stay while its slot may go on here: nobody can be asked for them by a node that is cut off.
      if (this.#wanted?.desired !== 'running') await this.#ports.mounts.remove(id);
      await this.#ports.network.detach(id);
      if (this.assigned.fence !== undefined) await this.#ports.leases.release(id);
      if (before !== undefined) await this.#record.saveEnd();
      this.#attachment = undefined;
    },
    forget: async () => {
      const { id } = this.assigned;
      await this.#ports.files.remove(id);
      await this.#ports.mounts.remove(id);
      if (this.assigned.fence !== undefined) await this.#ports.leases.release(id);
      await this.#record.delete();
      this.#forgotten = true;
      this.#ports.onForgotten(id);
    },
    wait: () => Promise.resolve(),
  };

  #ensureImage(): Promise<Image> {
    return pullImage(this.#ports, this.assigned.template.image, this.#signal(), (reason) => {
      this.#report('preparing', { reason });
    });
  }

  #attach(): Promise<Attachment> {
    const { id, stack, template } = this.assigned;
    return this.#ports.network.attach(id, { stack, networks: template.networks.map(({ network }) => network) });
  }

  async #create(): Promise<void> {
    const task = this.assigned;
    // Again, and quick where nothing is missing: after a reboot the record of an attachment is there and its namespace is not.
    const attachment = await this.#attach();
    this.#attachment = attachment;
    const image = this.#image ?? (await this.#ensureImage());
    const { healthCheck, shell } = image.config;
    const stopSignal = task.template.stopSignal ?? image.config.stopSignal;
    const check = containerCheck(task.template.healthCheck, healthCheck, shell);
    await this.#record.save({
      address: attachment.address,
      ...(stopSignal === undefined ? {} : { stopSignal }),
      ...(check === undefined ? {} : { check }),
    });
    const onWait = (reason: string): void => {
      this.#report('preparing', { reason });
    };
    await makeContainer(this.#ports, { task, image, attachment }, { signal: this.#signal(), onWait });
    this.#container = { kind: 'created' };
    this.#report('ready', {});
  }

  async #start(): Promise<void> {
    await this.#record.save({ startRequested: true });
    // The disk may have taken its time.
    if (this.#lacksLease()) return;
    const isChecked = this.#record.current.check !== undefined;
    this.#report('starting', isChecked ? { health: 'starting' } : {});
    const { startedAtMs } = await this.#ports.runtime.start(this.assigned.id);
    // It may have ended before `start` returned.
    if (this.#observedKind() !== 'ended') this.#container = { kind: 'running' };
    this.#report(isChecked ? 'starting' : 'running', { startedAtMs });
    this.#checkHealth();
    // The runtime's own record has it too: a full disk is no reason to give up a container that runs.
    await this.#record.saveIfPossible({ startedAtMs }, 'its start is not journaled');
  }

  #checkHealth(): void {
    const { check, health } = this.#record.current;
    if (check === undefined || this.#observedKind() !== 'running') return;
    this.#health.begin(this.assigned.id, check, this.#status.startedAtMs ?? this.#nowMs(), health);
  }

  /** Told first: who waits for it must not wait for the disk. An agent that dies in between tells it again. */
  async #tellHealth(): Promise<void> {
    const health = this.#health.takeNews();
    const reason = healthReason(health);
    const fields = { health: health.health, ...(reason === undefined ? {} : { reason }) };
    this.#report(health.hasPassed ? 'running' : 'starting', fields);
    await this.#record.saveIfPossible({ health }, 'its health is not journaled');
  }

  async #stop(): Promise<void> {
    // Journaled first: an agent that dies in between must not tell an ordered stop as a failure.
    await this.#record.save({ stopSentAtMs: this.#nowMs() }).catch(() => undefined);
    await this.#ports.runtime.kill(this.assigned.id, this.#record.current.stopSignal ?? 'SIGTERM');
    await this.#health.stop();
  }

  async #recordEnd(end: TaskEnd): Promise<void> {
    const told = this.#ranOut(end)
      ? 'killed by the guard: its lease ended, as no controller could be asked'
      : end.reason;
    const reason = end.state === 'failed' ? await withLastOutput(this.#ports.runtime, this.assigned.id, told) : told;
    const full: TaskEnd = { ...end, ...(reason === undefined ? {} : { reason }) };
    this.#record.setEnd(full);
    this.#report(full.state, endFields(full));
    await this.#record.saveEnd();
  }

  #ranOut({ state, exitCode }: TaskEnd): boolean {
    const { id, fence } = this.assigned;
    return state === 'failed' && exitCode === killedExitCode && fence !== undefined && this.#ports.leases.hasEnded(id);
  }

  #report(state: TaskState, fields: Partial<TaskStatus>): void {
    const sameState = this.#status.state === state;
    const { reason: _earlier, ...kept } = this.#status;
    this.#status = {
      ...kept,
      ...(this.#attachment === undefined ? {} : { address: this.#attachment.address }),
      ...fields,
      state,
      sinceMs: sameState ? this.#status.sinceMs : this.#nowMs(),
    };
    this.#ports.onStatus(this.#status);
  }

  #local(): LocalTask {
    return {
      ...endingOf(this.#record.current),
      imageReady: this.#image !== undefined,
      attached: this.#attachment !== undefined,
      container: this.#container,
      lacksLease: this.#lacksLease(),
      hasHealthNews: this.#health.hasNews,
      killSent: this.#killSent,
    };
  }

  #lacksLease(): boolean {
    return this.assigned.fence !== undefined && !this.#ports.leases.holds(this.assigned.id);
  }

  /** Read through a method: an exit can change it during an `await`, which control flow analysis does not see. */
  #observedKind(): ObservedContainer['kind'] {
    return this.#container.kind;
  }

  #signal(): AbortSignal {
    return this.#current?.abort.signal ?? new AbortController().signal;
  }

  #nowMs(): number {
    return this.#ports.clock.now().wallMs;
  }
}
