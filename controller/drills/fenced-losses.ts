/** PURE: what a drill that takes a node away has to know of fenced services: their slots wait for leases, whatever Frota does. */
import type { DrillRefusal, DrillRequest, TaskRef } from '../../proto/domain/drill.ts';
import { leaseEndsAfterMs, renewalIntervalMs } from '../../proto/domain/fencing.ts';
import type { Objective } from '../../proto/domain/slo.ts';
import { slotName } from '../../proto/domain/task.ts';
import type { Snapshot } from '../plan/snapshot.ts';

export interface FencedLosses {
  readonly refusals: readonly DrillRefusal[];
  readonly cautions: readonly string[];
}

/** `expected`: the tasks that go with the node. */
export function fencedLosses(
  { forMs }: Pick<DrillRequest, 'forMs'>,
  objectives: readonly Objective[],
  snapshot: Snapshot,
  expected: readonly TaskRef[],
): FencedLosses {
  const refusals: DrillRefusal[] = [];
  const cautions: string[] = [];
  for (const task of expected) {
    const leaseMs = snapshot.tasks.get(task.id)?.value.template.fenceLeaseMs;
    if (leaseMs === undefined) continue;
    const atMostMs = leaseEndsAfterMs(leaseMs);
    // The last renewal may have been that long ago when the node falls silent.
    const atLeastMs = atMostMs - renewalIntervalMs(leaseMs);
    const name = slotName(task.service, task.slot);
    const wait = `${name} is fenced: it runs elsewhere only when its lease has ended, ${seconds(atLeastMs)} to ${seconds(atMostMs)} after the fault`;
    cautions.push(wait);
    for (const { metric, limit, text } of objectives) {
      const isOutOfReach =
        metric === 'recovery' ? limit <= atLeastMs : metric === 'lost' && limit === 0 && forMs <= atMostMs;
      if (isOutOfReach) refusals.push({ kind: 'fenced', message: `${text} can't be met: ${wait}` });
    }
  }
  return { refusals, cautions };
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
