/** Drills as use-cases have them, and what the room needs of the rest of the controller. */
import type { Clock } from '../../proto/base/clock.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { DrillAnswer, DrillOrder } from '../../proto/domain/drill-orders.ts';
import type { Drill, DrillPlan, StopAddress } from '../../proto/domain/drill.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import type { Snapshot } from '../plan/snapshot.ts';

export interface Drills {
  /** Newest first. */
  list(): Promise<readonly Drill[]>;
  /** Id of the one that has not ended. */
  running(): string | undefined;
  /** @throws FrotaError `conflict` when another one has not ended. */
  begin(plan: DrillPlan, by: string): Promise<Drill>;
  /** As it is, and again after each change until it has ended or `signal` aborts. @throws FrotaError `not-found`. */
  follow(id: string, signal: AbortSignal): AsyncIterable<Drill>;
  /** Undoes the fault now; resolves with its end. One that has ended stays as it is. @throws FrotaError `not-found`. */
  stop(id: string, why: string): Promise<Drill>;
}

export interface DrillingPorts {
  readonly snapshot: () => Snapshot;
  /** By node id. */
  readonly liveness: () => ReadonlyMap<string, NodeLiveness>;
  /** After each change of either, until the returned function is called. */
  readonly onChange: (listener: () => void) => () => void;
  /** To a node's agent. @throws FrotaError `unavailable` where it is not connected or does not answer, or what it says. */
  readonly order: (nodeId: string, order: DrillOrder, signal: AbortSignal) => Promise<DrillAnswer>;
  /** Tells the undoing process to do it now. True once it says that it has. */
  readonly tellStop: (stop: StopAddress, drillId: string, signal: AbortSignal) => Promise<boolean>;
  readonly self: OwnFault;
  /** Durable when it resolves. */
  readonly save: (drill: Drill) => Promise<void>;
  /** Oldest first. */
  readonly read: () => Promise<readonly Drill[]>;
  readonly newId: () => string;
  /** Hex, unguessable. */
  readonly newKey: () => string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** `controller-kill`: this controller hurts itself. */
export interface OwnFault {
  /** Answers the UDP port of the armed process, which listens on this host. */
  arm(drillId: string, undoWithinMs: number, stopKey: string): Promise<number>;
  /** Never resolves: the process that would see it is gone. */
  kill(): Promise<never>;
}
