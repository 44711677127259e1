/**
 * PURE: what silence means. One record a node, changed only by `judge`; time comes with the input.
 *
 *     (not heard yet) ──heard──▶ ready ──silent──▶ suspect ──probes unanswered──▶ down
 *                                  ▲                  ├──refused, or said it restarts──▶ unreachable ──grace over, or
 *                                  └──heard───────────┴──────────────────────────────────── silent now──▶ down
 */
import { unreachable as impossible } from '../../proto/base/assert.ts';
import type { MonoMs } from '../../proto/base/clock.ts';
import type { NodeState } from '../../proto/domain/node.ts';
import type { LivenessSettings } from './settings.ts';

export interface NodeRecord {
  /** Undefined: this controller has neither heard the node nor given it up. */
  readonly state: NodeState | undefined;
  /** When `state` was entered. */
  readonly sinceMs: MonoMs;
  readonly reason?: string;
  readonly heard: boolean;
  /** Last heard; before the first time when the judgement began. */
  readonly lastSeenMs: MonoMs;
  /** Its last heartbeat said that the agent restarts. */
  readonly restarting: boolean;
  /** Present while the node is silent and not given up. */
  readonly suspicion?: Suspicion;
}

interface Suspicion {
  readonly sinceMs: MonoMs;
  /** Sent since the suspicion or, later, since the last refusal. */
  readonly probes: number;
  readonly refusedAtMs?: MonoMs;
}

export type JudgeInput =
  /** An authenticated, fresh datagram came. `stalledMs`: its agent's main thread. */
  | { readonly kind: 'heard'; readonly atMs: MonoMs; readonly restarting: boolean; readonly stalledMs: number }
  | { readonly kind: 'probe-sent'; readonly atMs: MonoMs }
  /** The host answered a probe with "port unreachable". */
  | { readonly kind: 'refused'; readonly atMs: MonoMs }
  /** This thread stood still for so long; all that was sent meanwhile may be lost. */
  | { readonly kind: 'own-stall'; readonly atMs: MonoMs; readonly durationMs: number }
  /** `probeable`: an address to probe is known. */
  | { readonly kind: 'tick'; readonly atMs: MonoMs; readonly probeable: boolean };

/** `fromMs`: when this controller began to lead, or the node joined, whichever is later. */
export function newRecord(fromMs: MonoMs): NodeRecord {
  return { state: undefined, sinceMs: fromMs, heard: false, lastSeenMs: fromMs, restarting: false };
}

/** How often the node is to be probed, ms; undefined: not at all. */
export function probeEveryMs(record: NodeRecord, settings: LivenessSettings): number | undefined {
  if (record.suspicion === undefined) return undefined;
  return record.state === 'unreachable' ? settings.slowProbeIntervalMs : settings.probeIntervalMs;
}

export function judge(record: NodeRecord, input: JudgeInput, settings: LivenessSettings): NodeRecord {
  switch (input.kind) {
    case 'heard':
      return hear(record, input, settings);
    case 'probe-sent':
      if (record.suspicion === undefined) return record;
      return { ...record, suspicion: { ...record.suspicion, probes: record.suspicion.probes + 1 } };
    case 'refused':
      // A host that answers at all is no reason to take back a judgement its tasks have already been moved by.
      if (record.suspicion === undefined) return record;
      return { ...record, suspicion: { ...record.suspicion, probes: 0, refusedAtMs: input.atMs } };
    case 'own-stall':
      return forgive(record, input.atMs, input.durationMs);
    case 'tick':
      return look(record, input.atMs, input.probeable, settings);
    default:
      return impossible(input);
  }
}

function hear(
  record: NodeRecord,
  { atMs, restarting, stalledMs }: Extract<JudgeInput, { kind: 'heard' }>,
  settings: LivenessSettings,
): NodeRecord {
  const { suspicion: _over, ...rest } = record;
  const seen = { ...rest, heard: true, lastSeenMs: later(record.lastSeenMs, atMs), restarting };
  return stalledMs >= settings.hangAfterMs
    ? enter(seen, 'suspect', atMs, 'its agent answers, but its main thread hangs: it takes no new tasks')
    : enter(seen, 'ready', atMs);
}

function look(record: NodeRecord, atMs: MonoMs, probeable: boolean, settings: LivenessSettings): NodeRecord {
  if (record.state === 'down') return record;
  const silentMs = atMs - record.lastSeenMs;
  const { suspicion } = record;
  if (suspicion === undefined) {
    if (silentMs <= (record.heard ? settings.suspectAfterMs : settings.firstContactMs)) return record;
    const suspected = { ...record, suspicion: { sinceMs: atMs, probes: 0 } };
    return record.heard ? enter(suspected, 'suspect', atMs, `not heard for ${String(silentMs)} ms`) : suspected;
  }
  if (record.state === 'unreachable') return judgeUnreachable(record, suspicion, atMs, settings);
  if (record.restarting) return enter(record, 'unreachable', atMs, 'its agent restarts');
  if (suspicion.refusedAtMs !== undefined) {
    return enter(record, 'unreachable', atMs, 'its host answers, its agent does not');
  }
  const asked = !probeable || suspicion.probes >= settings.minProbes;
  if (!asked || atMs - suspicion.sinceMs < settings.confirmWithinMs) return record;
  const what = record.heard ? `not heard for ${String(silentMs)} ms` : 'never heard by this controller';
  return giveUp(record, atMs, probeable ? `${what}, ${String(suspicion.probes)} probes unanswered` : what);
}

/** The grace is for an agent that restarts on a living host; a host that refused and then fell silent has died meanwhile. */
function judgeUnreachable(
  record: NodeRecord,
  suspicion: Suspicion,
  atMs: MonoMs,
  settings: LivenessSettings,
): NodeRecord {
  if (atMs - record.sinceMs >= settings.agentGraceMs) {
    return giveUp(record, atMs, `its agent has not come back within ${String(settings.agentGraceMs)} ms`);
  }
  if (record.restarting || suspicion.refusedAtMs === undefined) return record;
  const silentMs = atMs - suspicion.refusedAtMs;
  if (suspicion.probes < settings.minProbes || silentMs < settings.suspectAfterMs + settings.confirmWithinMs)
    return record;
  return giveUp(record, atMs, `its host refused, then fell silent: ${String(suspicion.probes)} probes unanswered`);
}

function giveUp(record: NodeRecord, atMs: MonoMs, reason: string): NodeRecord {
  const { suspicion: _over, ...rest } = record;
  return enter(rest, 'down', atMs, reason);
}

/** A state keeps the time it was entered, and the reason it was entered for, while it lasts. */
function enter(record: NodeRecord, state: NodeState, atMs: MonoMs, reason?: string): NodeRecord {
  if (record.state === state && (record.reason === undefined) === (reason === undefined)) return record;
  const { reason: _old, ...rest } = record;
  return { ...rest, state, sinceMs: atMs, ...(reason === undefined ? {} : { reason }) };
}

/** Moves what is measured forward by the time in which nothing could be heard, never past now. */
function forgive(record: NodeRecord, atMs: MonoMs, durationMs: number): NodeRecord {
  const moved = (time: MonoMs): MonoMs => Math.min(atMs, time + durationMs) as MonoMs;
  const { suspicion } = record;
  return {
    ...record,
    lastSeenMs: moved(record.lastSeenMs),
    ...(record.state === 'unreachable' ? { sinceMs: moved(record.sinceMs) } : {}),
    ...(suspicion === undefined
      ? {}
      : {
          suspicion: {
            ...suspicion,
            // Probes sent before the stall may have been answered during it.
            probes: 0,
            sinceMs: moved(suspicion.sinceMs),
            ...(suspicion.refusedAtMs === undefined ? {} : { refusedAtMs: moved(suspicion.refusedAtMs) }),
          },
        }),
  };
}

const later = (a: MonoMs, b: MonoMs): MonoMs => (a > b ? a : b);
