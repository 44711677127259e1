/** What a controller orders an agent in a drill, and what that answers: one answer for each order. */
import type { DrillKind, FaultState, ProbePlan, ProbeTally } from './drill.ts';

export type DrillOrder =
  /** Start the process that will undo the fault, and answer once its timer runs. Nothing is hurt yet. */
  | {
      readonly kind: 'arm';
      readonly drillId: string;
      readonly fault: DrillKind;
      /** `container-kill` only. */
      readonly taskId?: string;
      readonly undoWithinMs: number;
      /** Hex. */
      readonly stopKey: string;
    }
  /** Answered before the fault, which may well cut the way of the answer. */
  | { readonly kind: 'inject'; readonly drillId: string }
  | { readonly kind: 'undo'; readonly drillId: string }
  | { readonly kind: 'ask'; readonly drillId: string }
  /** Ask these ports until told to stop, for `atMostMs` at the longest. */
  | {
      readonly kind: 'probe';
      readonly drillId: string;
      readonly probe: Omit<ProbePlan, 'witness'>;
      /** `stack/service`. */
      readonly service: string;
      readonly atMostMs: number;
    }
  /** What was counted so far; with `end` after the last answer that is due. */
  | { readonly kind: 'count'; readonly drillId: string; readonly end: boolean };

export type DrillAnswer =
  /** `stopPort`: UDP, where the undoing process listens; absent where there is nothing to undo. */
  | { readonly kind: 'armed'; readonly agentId: string; readonly stopPort?: number }
  | { readonly kind: 'injecting'; readonly inMs: number }
  | { readonly kind: 'state'; readonly state: FaultState }
  | { readonly kind: 'probing' }
  | { readonly kind: 'tally'; readonly tally: ProbeTally };

/** First bytes of what is sent to the undoing process, before the key in hex, and of what it answers once it has undone. */
/** The file that an order to undo is written to; the process that undoes it writes beside it, by this end of its name. */
export const undoOrderSuffix = '.order.json';

export const stopWord = 'frota-drill-stop ';
export const undoneWord = 'frota-drill-undone ';
