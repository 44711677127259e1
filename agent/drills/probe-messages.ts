/** Between the agent's main thread and the probe's. */
import type { ProbeKind, ProbeTally } from '../../proto/domain/drill.ts';

export interface ProbeStart {
  readonly kind: ProbeKind;
  readonly path: string;
  readonly perSecond: number;
  readonly targets: readonly { readonly host: string; readonly port: number }[];
  readonly containerPort: number;
  readonly atMostMs: number;
}

export type ToProbe =
  /** What this node's ports lead to from now on. */
  | { readonly kind: 'serving'; readonly endpoints: readonly { readonly taskId: string; readonly address: string }[] }
  | { readonly kind: 'count'; readonly end: boolean };

export type FromProbe = { readonly kind: 'asking' } | { readonly kind: 'tally'; readonly tally: ProbeTally };
