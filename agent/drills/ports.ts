/** What a drill asks of a node, for who hands on the controller's orders. */
import type { ServiceUnit } from '../../proto/domain/assignment.ts';
import type { DrillAnswer, DrillOrder } from '../../proto/domain/drill-orders.ts';

export interface Drills {
  /** One answer for each order. @throws FrotaError */
  take(order: DrillOrder): Promise<DrillAnswer>;
}

/** Told what this node's ports and names lead to, once they do. */
export interface ServesListener {
  serving(services: readonly ServiceUnit[]): void;
}
