import type { Stack } from './service.ts';

/**
 * Accepted versions of a stack that are kept, the one that is declared included; older ones go as new ones come. Enough for
 * weeks of deploying every day, and little beside what runs.
 */
export const revisionsKept = 50;

/** How a stack came to be declared as it is. */
export type ChangeKind = 'apply' | 'scale' | 'undo' | 'restart';

/**
 * Stored record: one accepted version of a stack. Writer: `controller/api`, in the transaction that accepts it; gone
 * with the stack. Read when people ask; the plan never sees it.
 */
export interface Revision {
  readonly stack: Stack;
  readonly kind: ChangeKind;
  /** What it changed, one line for each thing, as people read it; never a secret, nor the value of a variable. */
  readonly differences: readonly string[];
  /** `undo`: the version it declared anew. */
  readonly restores?: number;
}
