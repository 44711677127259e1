/** The end of a drill: what was measured, held against what was expected, and said. */
import type {
  Drill,
  DrillReport,
  DrillVerdict,
  FaultState,
  LostTask,
  MeasuredObjective,
  ProbeTally,
} from '../../proto/domain/drill.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { isMet } from '../../proto/domain/slo.ts';
import { slotId, slotName } from '../../proto/domain/task.ts';
import type { Objective } from '../../proto/domain/slo.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { serviceViews } from '../plan/views.ts';
import type { Followed, Timeline } from './timeline.ts';

export interface Evidence {
  readonly drill: Drill;
  readonly timeline: Timeline;
  /** `lostSlots`, taken before the fault was undone. */
  readonly lostSlots: readonly string[];
  /** Milliseconds from the fault to the agent or the controller being back, for the drills that kill one. */
  readonly backAt: number | undefined;
  readonly tally: ProbeTally | undefined;
  readonly fault: FaultState | undefined;
  /** Why the drill was not carried through; undefined: it was. */
  readonly aborted: string | undefined;
  readonly notes: readonly string[];
}

export function reportOf(evidence: Evidence): DrillReport {
  const { drill, lostSlots, fault, tally } = evidence;
  const tasks = lostTasks(evidence);
  const recovery = recoveryOf(evidence, tasks);
  const errorsPercent = tally === undefined || tally.sent === 0 ? null : (100 * tally.failed) / tally.sent;
  const slo = drill.plan.objectives.map((objective) =>
    measured(objective, { recovery, errors: errorsPercent, lost: lostSlots.length }),
  );
  const confirmed = fault?.undone === true;
  const aborted = evidence.aborted ?? (confirmed ? undefined : 'nobody has confirmed yet that the fault is undone');
  const { verdict, reason } = verdictOf(aborted, slo);
  return {
    verdict,
    reason,
    slo,
    recoveryMs: recovery === 'nothing lost' || recovery === 'never' ? null : recovery,
    lost: lostSlots.length,
    lostSlots,
    probe: tally === undefined || errorsPercent === null ? null : probeOf(drill, tally, errorsPercent),
    tasks,
    undo: { confirmed, by: fault?.undoneBy ?? null },
    notes: [
      ...drill.plan.overridden.map((text) => `overridden: ${text}`),
      ...(drill.plan.cautions ?? []),
      ...evidence.notes,
      ...(fault?.problems ?? []),
    ],
  };
}

function verdictOf(
  aborted: string | undefined,
  slo: readonly MeasuredObjective[],
): { readonly verdict: DrillVerdict; readonly reason: string | null } {
  if (aborted !== undefined) return { verdict: 'aborted', reason: aborted };
  const unmet = slo.filter(({ met }) => !met);
  if (unmet.length === 0) return { verdict: 'passed', reason: null };
  return { verdict: 'failed', reason: `not met: ${unmet.map(({ objective }) => objective).join(', ')}` };
}

type Recovery = number | 'nothing lost' | 'never';

/** The last of what had to come back. */
function recoveryOf({ drill, backAt }: Evidence, tasks: readonly LostTask[]): Recovery {
  const { kind } = drill.plan;
  const waits = tasks.map(({ phasesMs, task }) => {
    const isAsked = drill.plan.probe !== undefined && task.service === drill.plan.service;
    return isAsked ? phasesMs.answering : phasesMs.running;
  });
  const isKilled = kind === 'agent-kill' || kind === 'controller-kill';
  const all = isKilled ? [...waits, backAt ?? null] : waits;
  if (all.length === 0) return 'nothing lost';
  const known = all.filter((wait) => wait !== null);
  return known.length < all.length ? 'never' : Math.round(Math.max(...known));
}

function measured(
  objective: Objective,
  values: { readonly recovery: Recovery; readonly errors: number | null; readonly lost: number },
): MeasuredObjective {
  const { metric, text } = objective;
  const value = values[metric];
  // Nothing was lost, so nothing had to recover: whatever the bound, it holds.
  if (value === 'nothing lost') return { objective: text, measured: null, met: true };
  if (value === 'never' || value === null) return { objective: text, measured: null, met: false };
  const shown = metric === 'errors' ? Math.round(value * 1_000) / 1_000 : value;
  return { objective: text, measured: shown, met: isMet(objective, value) };
}

/** Tasks of nodes that were lost, of slots that are still wanted. */
function lostTasks(evidence: Evidence): readonly LostTask[] {
  return [...evidence.timeline.followed.values()]
    .filter(({ isLost }) => isLost)
    .filter((each) => each.replacement !== undefined || isStillLost(evidence, each))
    .map((each): LostTask => {
      const { moments, task, replacement } = each;
      const { endpoint, answering } = answersOf(evidence, replacement?.id);
      const at = (value: number | undefined): number | null => (value === undefined ? null : Math.round(value));
      return {
        task,
        replacement: replacement ?? null,
        phasesMs: {
          suspected: at(moments.suspected),
          confirmed: at(moments.confirmed),
          committed: at(moments.committed),
          received: at(moments.received),
          created: at(moments.created),
          running: at(moments.running),
          endpoint: at(endpoint),
          answering: at(answering),
        },
      };
    });
}

/** A slot of a global service whose node is away is not wanted: its task was not lost, it left with its node. */
const isStillLost = ({ lostSlots }: Evidence, { task }: Followed): boolean =>
  lostSlots.includes(slotName(task.service, task.slot));

/** On the witness's clock these count from when it began to ask. */
function answersOf(
  { drill, tally }: Evidence,
  taskId: string | undefined,
): { readonly endpoint?: number; readonly answering?: number } {
  const seen = tally?.endpoints.find((each) => each.taskId === taskId);
  const offset = sinceFault(drill);
  if (seen === undefined || offset === undefined) return {};
  return {
    endpoint: seen.inForceMs + offset,
    ...(seen.answeredMs !== undefined && { answering: seen.answeredMs + offset }),
  };
}

/** Added to a moment of the witness it gives milliseconds since the fault. */
function sinceFault({ probedAtMs, faultAtMs }: Drill): number | undefined {
  return probedAtMs === undefined || faultAtMs === undefined ? undefined : probedAtMs - faultAtMs;
}

function probeOf(drill: Drill, tally: ProbeTally, errorsPercent: number): NonNullable<DrillReport['probe']> {
  const { endpoints: _, firstFailureMs, lastFailureMs, ...same } = tally;
  const offset = sinceFault(drill) ?? 0;
  return {
    ...same,
    errorsPercent: Math.round(errorsPercent * 1_000) / 1_000,
    firstFailureMs: firstFailureMs === undefined ? null : Math.round(firstFailureMs + offset),
    lastFailureMs: lastFailureMs === undefined ? null : Math.round(lastFailureMs + offset),
  };
}

/** Wanted slots that do not run, `stack/service.slot`; where a service lacks some, which they are. */
export function lostSlots(snapshot: Snapshot, liveness: ReadonlyMap<string, NodeLiveness>): readonly string[] {
  const isoTime = String;
  return serviceViews({ snapshot, liveness, isoTime }).flatMap(({ stack, name, replicas, mode }) => {
    const missing = replicas.desired - replicas.running;
    if (missing <= 0) return [];
    const id = `${stack}/${name}`;
    const wanted = [...snapshot.tasks.values()]
      .map(({ value }) => value)
      .filter((task) => task.stack === stack && task.service === name && task.desired === 'running')
      .filter((task) => snapshot.statuses.get(task.id)?.state !== 'running')
      .map(slotId);
    // Of a slot without any task only the number is known.
    const unnamed = Math.max(0, missing - wanted.length);
    const all = [...wanted.sort(), ...Array.from({ length: unnamed }, () => `${id}.?`)];
    return mode === 'global' ? all.slice(0, missing) : all;
  });
}
