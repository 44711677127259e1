/**
 * Keeps this node's services alive while no controller can be reached: tasks that end get a new attempt in their slot, by the
 * restart policy that the controller would go by, and names and ports of this node lead to it.
 */
import type { Clock } from '../../proto/base/clock.ts';
import { describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { ServiceUnit } from '../../proto/domain/assignment.ts';
import { isEnded } from '../../proto/domain/task.ts';
import type { TaskStatus } from '../../proto/domain/task.ts';
import { withLocalEndpoints } from '../reconcile/local-endpoints.ts';
import type { LocalEndpoint } from '../reconcile/local-endpoints.ts';
import { localRestart } from '../reconcile/local-restart.ts';
import { Doorbell } from './doorbell.ts';
import type { NodeTasks } from './node-tasks.ts';

export interface LocalRestartPorts {
  readonly tasks: NodeTasks;
  readonly nodeId: string;
  /** For how long there has been no session with a controller; undefined: there is one. */
  readonly cutOffForMs: () => number | undefined;
  /** From when on the node acts by itself; `Infinity`: never. */
  readonly afterMs: number;
  /** Where names and ports are to lead has changed. */
  readonly onEndpoints: () => void;
  readonly newId: () => string;
  /** Default: `lookIntervalMs`. */
  readonly lookEveryMs?: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How late the node may notice that it has been cut off for long enough, or that a disk has room again. */
const lookIntervalMs = 500;

export class LocalRestarts {
  readonly #ports: LocalRestartPorts;
  readonly #bell = new Doorbell();
  readonly #done: Promise<void>;
  /** Attempts of this node's own that no unit has shown yet. */
  readonly #unlisted = new Set<string>();
  readonly #lookEveryMs: number;
  #isAlone = false;
  #closed = false;

  constructor(ports: LocalRestartPorts) {
    this.#ports = ports;
    this.#lookEveryMs = ports.lookEveryMs ?? lookIntervalMs;
    for (const { taskId } of ports.tasks.statuses()) {
      if (ports.tasks.localAttempt(taskId) !== undefined) this.#unlisted.add(taskId);
    }
    if (this.#unlisted.size > 0) ports.onEndpoints();
    this.#done = this.#run();
  }

  /** A task's status has changed. */
  noticed(status: TaskStatus): void {
    const ended = isEnded(status.state);
    if (ended) this.#bell.ring();
    if (this.#unlisted.has(status.taskId) || (this.#isAlone && ended)) this.#ports.onEndpoints();
  }

  /** The units as they are to be followed on this node now. */
  services(units: readonly ServiceUnit[]): readonly ServiceUnit[] {
    const { tasks } = this.#ports;
    if (this.#unlisted.size > 0) {
      for (const { members } of units) for (const { taskId } of members) this.#unlisted.delete(taskId);
    }
    for (const id of this.#unlisted) if (tasks.assignedOf(id) === undefined) this.#unlisted.delete(id);
    const gone = new Set<string>();
    const attempts: LocalEndpoint[] = [];
    for (const status of tasks.statuses()) {
      if (this.#isAlone && isEnded(status.state)) gone.add(status.taskId);
      if (!this.#unlisted.has(status.taskId)) continue;
      for (const id of tasks.localAttempt(status.taskId)?.replaces ?? []) gone.add(id);
      const attempt = this.#endpointOf(status);
      if (attempt !== undefined) attempts.push(attempt);
    }
    return withLocalEndpoints(units, { attempts, gone });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#bell.ring();
    await this.#done;
  }

  #endpointOf({ taskId, state, health, address }: TaskStatus): LocalEndpoint | undefined {
    const { tasks, nodeId } = this.#ports;
    const assigned = tasks.assignedOf(taskId);
    if (assigned === undefined || address === undefined || isEnded(state) || !tasks.isWanted(taskId)) return undefined;
    const { stack, service, slot } = assigned;
    const serves = state === 'running' && (health === 'none' || health === 'healthy');
    return { stack, service, endpoint: { taskId, nodeId, address, slot }, serves };
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      this.#bell.answer();
      await this.#bell.wait(await this.#look());
    }
  }

  /** @returns after how long to look again. */
  async #look(): Promise<number> {
    const { tasks, cutOffForMs, afterMs, logger } = this.#ports;
    const alone = this.#alone();
    if (alone !== this.#isAlone) {
      this.#isAlone = alone;
      if (alone)
        logger.warn({ cutOffForMs: cutOffForMs() }, 'no controller can be reached: ended tasks are replaced here');
      this.#ports.onEndpoints();
    }
    if (!alone) return Math.min(this.#lookEveryMs, Math.max(0, afterMs - (cutOffForMs() ?? 0)));
    tasks.startLocal();
    let waitMs = this.#lookEveryMs;
    for (const ended of tasks.ended()) {
      const nowMs = this.#ports.clock.now().wallMs;
      const next = localRestart(ended, nowMs);
      if (next.kind === 'wait') waitMs = Math.min(waitMs, next.untilMs - nowMs);
      if (next.kind !== 'replace' || this.#closed || !this.#alone()) continue;
      const id = this.#ports.newId();
      const names = { taskId: id, replaces: ended.assigned.id };
      try {
        await tasks.replaceAlone(ended, id, next.rule, () => this.#alone());
        if (tasks.localAttempt(id) === undefined) continue;
        this.#unlisted.add(id);
        logger.info(names, 'made a new attempt without a controller');
      } catch (error) {
        logger.error({ ...names, error: describeError(error) }, 'no new attempt can be recorded; tried again');
      }
    }
    return waitMs;
  }

  #alone(): boolean {
    const cutOffMs = this.#ports.cutOffForMs();
    return cutOffMs !== undefined && cutOffMs >= this.#ports.afterMs;
  }
}
