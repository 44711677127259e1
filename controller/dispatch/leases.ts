/**
 * Leases of fenced tasks: which this controller has answered for, and when. In memory only. Two things make an answer safe: the
 * store has said, after the request came in, that nobody else leads; and from the moment the plan gives a task up nobody answers
 * for it any more, so whoever asks is either too late, or its answer was known to the plan.
 */
import type { Clock, MonoMs } from '../../proto/base/clock.ts';
import type { LeaseGrant } from '../../proto/codec/dispatch.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Change, Leases, Snapshot } from '../plan/snapshot.ts';
import { givenUp } from '../plan/leases.ts';

export interface LeaseBookPorts {
  readonly snapshot: () => Snapshot;
  /** Asks the store, not memory. @throws FrotaError `conflict` when another controller leads, else as `Store.range`. */
  readonly confirmLead: () => Promise<void>;
  readonly clock: Clock;
}

export class LeaseBook {
  readonly #ports: LeaseBookPorts;
  readonly #leaderSinceMs: MonoMs;
  readonly #answeredAtMs = new Map<string, MonoMs>();
  readonly #revoked = new Set<string>();

  /** Made after this controller has raised the epoch. */
  constructor(ports: LeaseBookPorts) {
    this.#ports = ports;
    this.#leaderSinceMs = ports.clock.now().monoMs;
  }

  /** For the plan, which must be told of what it decides (`decided`) in the same turn. */
  known(): Leases {
    return { leaderSinceMs: this.#leaderSinceMs, answeredAtMs: this.#answeredAtMs };
  }

  decided(changes: readonly Change[]): void {
    for (const id of givenUp(changes)) this.#revoked.add(id);
  }

  /** The answer to a node's request, to be sent at once. @throws FrotaError when it can't be known that this controller leads. */
  async answer(nodeId: string, number: number): Promise<LeaseGrant> {
    await this.#ports.confirmLead();
    const { tasks, statuses } = this.#ports.snapshot();
    const { monoMs } = this.#ports.clock.now();
    const taskIds: string[] = [];
    for (const { value: task } of tasks.values()) {
      if (task.nodeId !== nodeId || task.template.fenceLeaseMs === undefined) continue;
      // One that is to stop may take its time, too: its slot waits until it has ended.
      if (isEnded(taskState(task, statuses.get(task.id))) || this.#revoked.has(task.id)) continue;
      taskIds.push(task.id);
      this.#answeredAtMs.set(task.id, monoMs);
    }
    this.#forget(tasks);
    return { kind: 'lease', number, taskIds };
  }

  /** Bounded by the tasks there are. */
  #forget(tasks: Snapshot['tasks']): void {
    if (this.#answeredAtMs.size + this.#revoked.size <= 2 * tasks.size + 64) return;
    for (const id of this.#answeredAtMs.keys()) if (!tasks.has(id)) this.#answeredAtMs.delete(id);
    for (const id of this.#revoked) if (!tasks.has(id)) this.#revoked.delete(id);
  }
}
