/**
 * How fast what was lost came back, phase by phase: from the last sign of life of a node, or the end of a task, to the moment at
 * which every port and name leads to the task that replaced it. In memory only: what is under way when a controller stops is not told.
 */
import { serviceUnitKey } from '../../proto/domain/assignment.ts';
import type { RecoveryMoments, NewEvent } from '../../proto/domain/event.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { slotId, taskStateRank } from '../../proto/domain/task.ts';
import type { Task, TaskStatus } from '../../proto/domain/task.ts';
import type { Change, Snapshot } from '../plan/snapshot.ts';

export interface RecoveriesPorts {
  readonly snapshot: () => Snapshot;
  readonly liveness: () => ReadonlyMap<string, NodeLiveness>;
  /** Whether the ports and names of every node that can be reached and needs the task's service lead to it. */
  readonly leadsEverywhere: (task: Task) => boolean;
  /** Wall time. */
  readonly nowMs: () => number;
  readonly tell: (events: readonly NewEvent[]) => void;
}

export interface Recoveries {
  /** Changes of one pass that are durable now. */
  committed(changes: readonly Change[], times: { readonly plannedAtMs: number; readonly committedAtMs: number }): void;
  /** What an agent said of a task. */
  reported(status: TaskStatus): void;
  /** Whoever runs may be led to everywhere now: a node said what is in force of these units; without them, of any service. */
  look(unitKeys?: ReadonlySet<string>): void;
}

/** Wall times. */
interface Loss {
  readonly task: Task;
  readonly reason: string;
  readonly atMs: number;
  readonly suspectedAtMs?: number;
  readonly confirmedAtMs: number;
}

interface Recovery {
  readonly loss: Loss;
  readonly task: Task;
  readonly plannedAtMs: number;
  readonly committedAtMs: number;
  receivedAtMs?: number;
  createdAtMs?: number;
  runningAtMs?: number;
}

/** Slots whose loss nobody makes good are forgotten from here on, the oldest first; a lost rack of nodes has fewer. */
const maxLosses = 10_000;

export function createRecoveries(ports: RecoveriesPorts): Recoveries {
  return new RecoveryRecorder(ports);
}

class RecoveryRecorder implements Recoveries {
  readonly #ports: RecoveriesPorts;
  /** By slot. */
  readonly #losses = new Map<string, Loss>();
  /** By the id of the task that replaces what was lost. */
  readonly #open = new Map<string, Recovery>();

  constructor(ports: RecoveriesPorts) {
    this.#ports = ports;
  }

  committed(changes: readonly Change[], times: { readonly plannedAtMs: number; readonly committedAtMs: number }): void {
    const tasks = changes.flatMap((change) => (change.kind === 'put-task' ? [change.task] : []));
    const recovering = this.#recovering();
    for (const task of tasks) {
      if (task.orphaned === true && !this.#isKnown(task, recovering))
        this.#lost(this.#nodeLoss(task, times.plannedAtMs));
    }
    for (const task of tasks) {
      if (task.orphaned === true || task.desired !== 'running' || task.nodeId === undefined) continue;
      const loss = this.#losses.get(slotId(task));
      if (loss === undefined || loss.task.id === task.id) continue;
      this.#losses.delete(slotId(task));
      // Another version is no replacement, though it takes the slot of what had ended.
      if (loss.task.templateHash !== task.templateHash) continue;
      this.#open.set(task.id, { loss, task, ...times });
    }
  }

  reported(status: TaskStatus): void {
    const nowMs = this.#ports.nowMs();
    const recovery = this.#open.get(status.taskId);
    const { state } = status;
    if (recovery === undefined) {
      if (state === 'failed' || state === 'complete') this.#taskLoss(status, nowMs);
      return;
    }
    const rank = taskStateRank(state);
    if (rank > taskStateRank('running')) {
      // Lost again before it was of use: its own replacement is measured from the first loss on.
      this.#open.delete(status.taskId);
      this.#lost({ ...recovery.loss, task: recovery.task });
      return;
    }
    if (rank >= taskStateRank('accepted')) recovery.receivedAtMs ??= nowMs;
    if (rank >= taskStateRank('ready')) recovery.createdAtMs ??= nowMs;
    if (state === 'running') recovery.runningAtMs ??= nowMs;
    this.#lookAt(recovery);
  }

  look(unitKeys?: ReadonlySet<string>): void {
    for (const recovery of this.#open.values()) {
      const { stack, service } = recovery.task;
      if (unitKeys === undefined || unitKeys.has(serviceUnitKey(stack, service))) this.#lookAt(recovery);
    }
  }

  #lookAt(recovery: Recovery): void {
    if (recovery.runningAtMs === undefined) return;
    const { id } = recovery.task;
    const task = this.#ports.snapshot().tasks.get(id)?.value;
    if (task === undefined || task.desired !== 'running') this.#open.delete(id);
    else if (this.#ports.leadsEverywhere(task)) {
      this.#open.delete(id);
      this.#ports.tell([this.#event(recovery)]);
    }
  }

  #nodeLoss(task: Task, plannedAtMs: number): Loss {
    const { nodeId = '' } = task;
    const node = this.#ports.liveness().get(nodeId);
    const confirmedAtMs = node?.state === 'down' ? node.sinceMs : plannedAtMs;
    const { silentSinceMs, suspectedAtMs } = node ?? {};
    const name = this.#ports.snapshot().nodes.get(nodeId)?.value.name ?? nodeId;
    return {
      task,
      reason: `node ${name} was lost`,
      atMs: silentSinceMs ?? confirmedAtMs,
      ...(suspectedAtMs !== undefined && { suspectedAtMs }),
      confirmedAtMs,
    };
  }

  #taskLoss(status: TaskStatus, nowMs: number): void {
    const task = this.#ports.snapshot().tasks.get(status.taskId)?.value;
    if (task?.desired !== 'running' || this.#isKnown(task, this.#recovering())) return;
    // An agent that was away tells an old end: what counts for people is when it ended.
    const atMs = Math.min(nowMs, status.finishedAtMs ?? nowMs);
    this.#lost({ task, reason: status.reason ?? `the task before it is ${status.state}`, atMs, confirmedAtMs: nowMs });
  }

  /** Reports come again after a reconnection, and an orphaned task is written once more when it is reaped. */
  #isKnown(task: Task, recovering: ReadonlySet<string>): boolean {
    return this.#losses.get(slotId(task))?.task.id === task.id || recovering.has(task.id);
  }

  /** Ids of lost tasks that are being replaced. */
  #recovering(): ReadonlySet<string> {
    return new Set([...this.#open.values()].map(({ loss }) => loss.task.id));
  }

  #lost(loss: Loss): void {
    const key = slotId(loss.task);
    this.#losses.delete(key);
    this.#losses.set(key, loss);
    const [oldest] = this.#losses.keys();
    if (this.#losses.size > maxLosses && oldest !== undefined) this.#losses.delete(oldest);
  }

  #event(recovery: Recovery): NewEvent {
    const { loss, task } = recovery;
    const { stack, service, slot, id: taskId, nodeId = '' } = task;
    const moments = momentsOf(recovery, this.#ports.nowMs());
    const node = this.#ports.snapshot().nodes.get(nodeId)?.value.name ?? nodeId;
    return {
      kind: 'task.recovered',
      ...{ stack, service, slot, taskId, node },
      message: `is in every port and name ${String(moments.inForce)} ms after the loss (${momentsText(moments)})`,
      cause: `takes the place of ${loss.task.id}: ${loss.reason}`,
      recovery: moments,
      revision: 0,
    };
  }
}

function momentsOf(recovery: Recovery, inForceAtMs: number): RecoveryMoments {
  const { loss, plannedAtMs, committedAtMs, receivedAtMs, createdAtMs, runningAtMs } = recovery;
  const since = (atMs: number): number => Math.max(0, Math.round(atMs - loss.atMs));
  return {
    ...(loss.suspectedAtMs !== undefined && { suspected: since(loss.suspectedAtMs) }),
    confirmed: since(loss.confirmedAtMs),
    planned: since(plannedAtMs),
    committed: since(committedAtMs),
    received: since(receivedAtMs ?? committedAtMs),
    created: since(createdAtMs ?? receivedAtMs ?? committedAtMs),
    running: since(runningAtMs ?? inForceAtMs),
    inForce: since(inForceAtMs),
  };
}

/** Without the last one, which is said before. */
const momentsText = ({ inForce: _said, ...moments }: RecoveryMoments): string =>
  Object.entries(moments)
    .map(([name, ms]) => `${name} ${String(ms)}`)
    .join(', ');
