/**
 * A task that stops first leaves every name and port: it is `draining` for its node until each reachable node that leads to it
 * has said that it no longer does, `drainConfirmWithinMs` at the longest, and is told to stop then. In memory only: a
 * controller that starts anew begins with all of them again, and an agent takes back no stop signal.
 */
import type { MonoMs } from '../../proto/base/clock.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { RevisedUnit, TasksUnit } from '../../proto/domain/assignment.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { needsService } from './units.ts';
import type { LeavingTask, UnitSet } from './units.ts';

/** Longest wait for the nodes' word, which comes within a fraction of it unless one of them hangs: a stop must not hang with it. */
export const drainConfirmWithinMs = 1_000;
/** Of one service unit. An agent is rarely more than one behind; of an older one nothing is known, so it is waited for. */
const revisionsRemembered = 4;

/** Per service unit's key: the tasks that each of its latest revisions leads to. */
export class EndpointHistory {
  readonly #byKey = new Map<string, Map<string, ReadonlySet<string>>>();

  add(key: string, { revision, unit }: RevisedUnit): void {
    if (unit.kind !== 'service') return;
    const revisions = this.#byKey.get(key) ?? new Map<string, ReadonlySet<string>>();
    this.#byKey.set(key, revisions);
    revisions.delete(revision);
    revisions.set(revision, new Set(unit.endpoints.map(({ taskId }) => taskId)));
    const [oldest] = revisions.keys();
    if (revisions.size > revisionsRemembered && oldest !== undefined) revisions.delete(oldest);
  }

  /**
   * Whether who has said that this revision is in force leads to the task, or may be at work on a later one that does: an
   * agent says again what is in force when it is sent the next. Undefined: nobody here knows.
   */
  mayLeadTo(key: string, revision: string, taskId: string): boolean | undefined {
    const revisions = [...(this.#byKey.get(key) ?? [])];
    const index = revisions.findIndex(([known]) => known === revision);
    return index === -1 ? undefined : revisions.slice(index).some(([, tasks]) => tasks.has(taskId));
  }

  /** Whether who has said that this revision is in force, and nothing since, leads to the task. */
  leadsTo(key: string, revision: string, taskId: string): boolean {
    return this.#byKey.get(key)?.get(revision)?.has(taskId) === true;
  }

  /** Forgets the units that no service stands for any more. */
  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#byKey.keys()) if (!keys.has(key)) this.#byKey.delete(key);
  }
}

export interface DrainPorts {
  readonly now: () => MonoMs;
  readonly liveness: () => ReadonlyMap<string, NodeLiveness>;
  /** By unit key the revision that a node's agent has said to be in force; undefined: the node has no session. */
  readonly applied: (nodeId: string) => ReadonlyMap<string, string> | undefined;
  readonly history: EndpointHistory;
  readonly logger: Logger;
}

export class Drains {
  readonly #ports: DrainPorts;
  /** By task id. */
  readonly #begunAtMs = new Map<string, MonoMs>();
  /** Tasks that are led to no more; there is no way back. */
  readonly #done = new Set<string>();
  #units: UnitSet | undefined;

  constructor(ports: DrainPorts) {
    this.#ports = ports;
  }

  /** The units of a new snapshot: what began to leave in it counts from now. */
  follow(units: UnitSet): void {
    this.#units = units;
    const ids = new Set<string>();
    const nowMs = this.#ports.now();
    for (const tasks of units.leaving.values()) {
      for (const { id } of tasks) {
        ids.add(id);
        if (!this.#begunAtMs.has(id)) this.#begunAtMs.set(id, nowMs);
      }
    }
    for (const id of this.#begunAtMs.keys()) if (!ids.has(id)) this.#begunAtMs.delete(id);
    for (const id of this.#done) if (!ids.has(id)) this.#done.delete(id);
  }

  /** The node's tasks as it is to have them now. */
  tasksOf(nodeId: string, unit: TasksUnit): TasksUnit {
    const draining = new Set<string>();
    for (const task of this.#waiting(nodeId)) {
      const leading = this.#nodesThatMayLeadTo(task);
      if (leading.length > 0 && this.#dueInMs(task) > 0) draining.add(task.id);
      else this.#finish(task, leading);
    }
    if (draining.size === 0) return unit;
    return {
      kind: 'tasks',
      tasks: unit.tasks.map((task) => (draining.has(task.id) ? { ...task, desired: 'draining' } : task)),
    };
  }

  /** When `tasksOf` is to be asked again though nobody says anything; undefined: none of the node's tasks waits. */
  dueInMs(nodeId: string): number | undefined {
    const dues = this.#waiting(nodeId).map((task) => this.#dueInMs(task));
    return dues.length === 0 ? undefined : Math.max(0, Math.min(...dues));
  }

  /** Nodes with tasks that may have been waiting for a word about one of these units. */
  waitingFor(keys: ReadonlySet<string>): readonly string[] {
    const leaving = [...(this.#units?.leaving ?? [])];
    return leaving.flatMap(([nodeId, tasks]) =>
      tasks.some((task) => keys.has(task.unitKey) && !this.#done.has(task.id)) ? [nodeId] : [],
    );
  }

  /** Those that the node has not been told to stop. */
  #waiting(nodeId: string): readonly LeavingTask[] {
    return (this.#units?.leaving.get(nodeId) ?? []).filter(({ id }) => !this.#done.has(id));
  }

  #dueInMs({ id }: LeavingTask): number {
    const nowMs = this.#ports.now();
    return (this.#begunAtMs.get(id) ?? nowMs) + drainConfirmWithinMs - nowMs;
  }

  #finish(task: LeavingTask, silent: readonly string[]): void {
    this.#done.add(task.id);
    const waitedMs = Math.round(drainConfirmWithinMs - this.#dueInMs(task));
    const fields = { taskId: task.id, service: task.serviceId, waitedMs };
    if (silent.length === 0) this.#ports.logger.debug(fields, 'a stopping task has left every name and port');
    else {
      const what = 'nodes did not say in time that they no longer lead to a stopping task: it is stopped all the same';
      this.#ports.logger.warn({ ...fields, nodes: silent }, what);
    }
  }

  /** Every reachable node that needs the service has said that its ports and names lead to the task. */
  leadEverywhere({ id, serviceId, unitKey }: LeavingTask): boolean {
    return this.#reachableNodes(serviceId).every((nodeId) => {
      const revision = this.#ports.applied(nodeId)?.get(unitKey);
      return revision !== undefined && this.#ports.history.leadsTo(unitKey, revision, id);
    });
  }

  /** Ids of those that need the service; nobody is at the others who could answer. */
  #reachableNodes(serviceId: string): readonly string[] {
    const units = this.#units;
    const service = units?.services.get(serviceId);
    if (units === undefined || service === undefined) return [];
    const liveness = this.#ports.liveness();
    return units.nodes.filter((nodeId) => {
      const state = liveness.get(nodeId)?.state;
      return state !== 'down' && state !== 'unreachable' && needsService(units, nodeId, service);
    });
  }

  /** Ids of reachable nodes that have not said that they don't. */
  #nodesThatMayLeadTo(task: LeavingTask): readonly string[] {
    return this.#reachableNodes(task.serviceId).filter((nodeId) => {
      // Without a session it serves what it last held: it is waited for as long as it may be about to come back.
      const revision = this.#ports.applied(nodeId)?.get(task.unitKey);
      return revision === undefined || this.#ports.history.mayLeadTo(task.unitKey, revision, task.id) !== false;
    });
  }
}
