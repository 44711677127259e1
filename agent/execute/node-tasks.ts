/** All tasks of this node: one actor each, made from the assignment or, at start, from what the journal and the host show. */
import { describeError } from '../../proto/base/errors.ts';
import type { AssignedTask, RestartRule } from '../../proto/domain/assignment.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import { localAttempt, replacedBy, successorOf } from '../reconcile/local-restart.ts';
import type { EndedTask, LocalAttempt } from '../reconcile/local-restart.ts';
import { createCheckTurns } from './check-turns.ts';
import type { ContainerExit } from '../runtime/runtime.ts';
import type { ActorPorts, TaskRecord } from './ports.ts';
import { TaskActor } from './task-actor.ts';

export class NodeTasks {
  readonly #ports: ActorPorts;
  readonly #actors = new Map<string, TaskActor>();
  /** Ends that were told before the actors were made, which may know of them or not; until `adopt` has made them. */
  #endedEarly: Map<string, ContainerExit> | undefined = new Map();
  #confirmed = false;
  #closed = false;
  /** The latest list; an earlier one may still be on its way through the journal. */
  #wanted: ReadonlyMap<string, AssignedTask> = new Map();

  constructor(ports: Omit<ActorPorts, 'onForgotten' | 'checkTurns'>) {
    const onForgotten = (taskId: string): boolean => this.#actors.delete(taskId);
    this.#ports = { ...ports, onForgotten, checkTurns: createCheckTurns() };
    ports.runtime.onExit((id, exit) => {
      const actor = this.#actors.get(id);
      if (actor !== undefined) actor.containerEnded(exit);
      else this.#endedEarly?.set(id, exit);
    });
  }

  /**
   * Finds again what an earlier agent left: containers that outlived it are adopted, what was ended is recorded, what no
   * record explains is removed. `wanted`: the journaled assignment; undefined when it is not known (its file was lost):
   * everything then stays as it is until a controller speaks. Nothing is started before `confirm`, but for
   * attempts of this node's own, once it has been cut off for long enough (`startLocal`).
   */
  async adopt(wanted: readonly AssignedTask[] | undefined): Promise<void> {
    const [records, attachments, withFiles, withMounts] = await Promise.all([
      this.#ports.journal.load('tasks'),
      this.#ports.network.list(),
      this.#ports.files.list(),
      this.#ports.mounts.list(),
    ]);
    const containers = await this.#ports.runtime.list();
    const wantedById = wanted === undefined ? undefined : new Map(wanted.map((task) => [task.id, task]));
    const containerById = new Map(containers.map((container) => [container.id, container]));
    const attachmentById = new Map(attachments.map((attachment) => [attachment.taskId, attachment]));
    const superseded = supersededBy(records.map(({ value }) => value as TaskRecord));
    for (const { id, value } of records) {
      const observed = { container: containerById.get(id), attachment: attachmentById.get(id) };
      const record = value as TaskRecord;
      const stillWanted =
        wantedById === undefined ? record.assigned : (wantedById.get(id) ?? ownWish(record, superseded));
      const actor = new TaskActor(this.#ports, record, observed, stillWanted);
      this.#actors.set(id, actor);
      const exit = this.#endedEarly?.get(id);
      if (exit !== undefined) actor.containerEnded(exit);
    }
    this.#endedEarly = undefined;
    for (const { id, value } of records) {
      // Its lease file is gone, or was never written: nothing would kill it in time.
      const isUnguarded = (value as TaskRecord).assigned.fence !== undefined && !this.#ports.leases.isGuarded(id);
      if (isUnguarded && containerById.get(id)?.state.kind === 'running') await this.#killUnguarded(id);
    }
    const strays = new Set([...containerById.keys(), ...attachmentById.keys(), ...withFiles, ...withMounts]);
    for (const id of strays) if (!this.#actors.has(id)) await this.#removeStray(id);
  }

  async #killUnguarded(id: string): Promise<void> {
    this.#ports.logger.error({ taskId: id }, 'killed: a fenced task does not run without a guard');
    await this.#ports.runtime.kill(id, 'SIGKILL').catch((error: unknown) => {
      this.#ports.logger.error({ taskId: id, error: describeError(error) }, 'cannot be killed');
    });
  }

  async #removeStray(id: string): Promise<void> {
    this.#ports.logger.warn({ taskId: id }, 'removing what no record explains');
    try {
      await this.#ports.runtime.remove(id);
      await this.#ports.network.detach(id);
      await this.#ports.files.remove(id);
      await this.#ports.mounts.remove(id);
      await this.#ports.leases.release(id);
    } catch (error) {
      this.#ports.logger.error({ taskId: id, error: describeError(error) }, 'cannot remove a stray container');
    }
  }

  /** Makes the node's tasks what the list says; complete, so what is not in it goes. */
  async assign(tasks: readonly AssignedTask[]): Promise<void> {
    const wanted = new Map(tasks.map((task) => [task.id, task]));
    this.#wanted = wanted;
    for (const [id, actor] of this.#actors) if (wanted.has(id)) await this.#settle(actor);
    const superseded = this.#superseded();
    for (const [id, actor] of this.#actors)
      actor.setWanted(wanted.get(id) ?? ownWish(actor.record.current, superseded));
    await this.#acceptMissing();
  }

  /** What an attempt of this node's own has replaced is not begun again: a controller that knows of that says what is to be. */
  async #acceptMissing(): Promise<void> {
    const superseded = this.#superseded();
    const added = [...this.#wanted.values()].filter(({ id }) => !this.#actors.has(id) && !superseded.has(id));
    await Promise.all(added.map((task) => this.#accept(task)));
  }

  async #settle(actor: TaskActor): Promise<void> {
    if (actor.record.current.local === undefined) return;
    await actor.record.settleLocal();
    if (this.#confirmed) actor.allowStart();
  }

  #superseded(): ReadonlySet<string> {
    return supersededBy([...this.#actors.values()].map(({ record }) => record.current));
  }

  /** Tasks that have ended though they are still to run here, and that nothing has replaced yet. */
  ended(): readonly EndedTask[] {
    const superseded = this.#superseded();
    return [...this.#actors].flatMap(([id, actor]) => (superseded.has(id) ? [] : endedTask(actor)));
  }

  /** What a controller is to be told of an attempt that this node made, and of which none has decided yet. */
  localAttempt(taskId: string): LocalAttempt | undefined {
    const { local, assigned, acceptedAtMs = 0 } = this.#actors.get(taskId)?.record.current ?? {};
    if (local === undefined || assigned === undefined) return undefined;
    return localAttempt({ assigned, acceptedAtMs, replaces: local.replaces });
  }

  /**
   * Puts a new attempt in the place of a task that has ended. It is durable before it begins, so that a later agent goes on with it
   * and makes no other. @throws FrotaError as `Journal.put`: nothing has changed then.
   */
  async replaceAlone(ended: EndedTask, id: string, rule: RestartRule, isStillAlone: () => boolean): Promise<void> {
    const before = this.#actors.get(ended.assigned.id);
    const assigned = successorOf(ended.assigned, id, rule);
    const replaces = replacedBy(ended.assigned.id, before?.record.current.local?.replaces);
    const record: TaskRecord = { assigned, acceptedAtMs: this.#ports.clock.now().wallMs, local: { replaces } };
    await this.#ports.journal.put('tasks', id, record);
    if (this.#closed) return;
    if (!isStillAlone()) {
      await this.#ports.journal.delete('tasks', id);
      return;
    }
    const actor = new TaskActor(this.#ports, record, { container: undefined, attachment: undefined }, assigned);
    this.#actors.set(id, actor);
    // Of an own attempt before this one nobody will ask.
    if (before?.record.current.local !== undefined) before.setWanted(undefined);
    this.#ports.onStatus(actor.status);
    actor.allowStart();
  }

  /** Cut off for long enough: what this node made before it was started again goes on without a controller's word. */
  startLocal(): void {
    for (const actor of this.#actors.values()) if (actor.record.current.local !== undefined) actor.allowStart();
  }

  /** A controller does not want these attempts of this node's own. */
  async refuse(taskIds: readonly string[]): Promise<void> {
    for (const id of taskIds) {
      const actor = this.#actors.get(id);
      if (actor?.record.current.local === undefined) continue;
      await actor.record.settleLocal();
      actor.setWanted(this.#wanted.get(id));
    }
    await this.#acceptMissing();
  }

  /** Whether the task is still to run here. */
  isWanted(taskId: string): boolean {
    return this.#actors.get(taskId)?.wanted?.desired === 'running';
  }

  assignedOf(taskId: string): AssignedTask | undefined {
    return this.#actors.get(taskId)?.assigned;
  }

  /** Durable before it is reported: from here on the task is this node's to tell about. */
  async #accept(task: AssignedTask): Promise<void> {
    const record: TaskRecord = { assigned: task, acceptedAtMs: this.#ports.clock.now().wallMs };
    try {
      await this.#ports.journal.put('tasks', task.id, record);
    } catch (error) {
      // The disk is full: the task is told as rejected, so that it is placed elsewhere.
      const nowMs = this.#ports.clock.now().wallMs;
      const reason = `its node cannot record it: ${describeError(error)}`;
      const end = { state: 'rejected' as const, reason, finishedAtMs: nowMs };
      this.#start(task, { ...record, end });
      return;
    }
    this.#start(task, record);
  }

  #start(task: AssignedTask, record: TaskRecord): void {
    if (this.#closed || this.#actors.has(task.id)) return;
    const observed = { container: undefined, attachment: undefined };
    const actor = new TaskActor(this.#ports, record, observed, this.#wanted.get(task.id));
    this.#actors.set(task.id, actor);
    this.#ports.onStatus(actor.status);
    if (this.#confirmed) actor.allowStart();
  }

  /** A controller has said, since this agent started, what the node is to have. */
  confirm(): void {
    this.#confirmed = true;
    // Attempts of this node's own wait for what the controller says of each.
    for (const actor of this.#actors.values()) if (actor.record.current.local === undefined) actor.allowStart();
  }

  statuses(): readonly TaskStatus[] {
    return [...this.#actors.values()].map((actor) => actor.status);
  }

  /** Containers keep running. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#actors.values()].map((actor) => actor.close()));
  }
}

/** Ids of tasks in whose place attempts of this node's own are. */
const supersededBy = (records: readonly TaskRecord[]): ReadonlySet<string> =>
  new Set(records.flatMap(({ local }) => local?.replaces ?? []));

/** No controller has named it yet, and the node itself wants it: the latest attempt that it made. */
const ownWish = ({ local, assigned }: TaskRecord, superseded: ReadonlySet<string>): AssignedTask | undefined =>
  local === undefined || superseded.has(assigned.id) ? undefined : assigned;

function endedTask({ record, status: { startedAtMs }, wanted }: TaskActor): EndedTask[] {
  const { end, acceptedAtMs } = record.current;
  if (end === undefined || wanted?.desired !== 'running') return [];
  const started = startedAtMs === undefined ? {} : { startedAtMs };
  return [{ assigned: wanted, acceptedAtMs: acceptedAtMs ?? startedAtMs ?? end.finishedAtMs, end, ...started }];
}
