/**
 * PURE: what silence means. One record a node, changed only by `judge`; time comes with the input.
 *
 *     (not heard yet) ──heard──▶ ready ──silent──▶ suspect ──probes unanswered──▶ down
 *                                  ▲                  ├──refused, said it restarts, or ──▶ unreachable ──grace over, or
 *                                  │                  │  heard by its peers only                         silent now──▶ down
 *                                  └──heard, by datagram or over its session, from every state
 */
import { unreachable as impossible } from '../../proto/base/assert.ts';
import type { MonoMs } from '../../proto/base/clock.ts';
import type { StalledPart } from '../../proto/codec/datagram.ts';
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
  /** Heard over its session alone: its datagrams stay away. */
  readonly overStream: boolean;
  /** Why it takes no new tasks though it is heard. */
  readonly notAccepting?: string;
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
  /** When a peer last had an answer from it. */
  readonly peerHeardAtMs?: MonoMs;
}

export type JudgeInput =
  /** An authenticated, fresh datagram came. `stalledMs`: for how long that part of its agent has not moved. */
  | {
      readonly kind: 'heard';
      readonly atMs: MonoMs;
      readonly restarting: boolean;
      readonly stalledMs: number;
      readonly stalledPart: StalledPart;
    }
  /** The agent answered over its session. `atMs`: when it was asked, since which it has lived for sure. */
  | { readonly kind: 'stream-heard'; readonly atMs: MonoMs }
  /** A peer that was asked had an answer from it. */
  | { readonly kind: 'peer-heard'; readonly atMs: MonoMs }
  | { readonly kind: 'probe-sent'; readonly atMs: MonoMs }
  /** The host answered a probe with "port unreachable". */
  | { readonly kind: 'refused'; readonly atMs: MonoMs }
  /** This thread stood still for so long; all that was sent meanwhile may be lost. */
  | { readonly kind: 'own-stall'; readonly atMs: MonoMs; readonly durationMs: number }
  /** `probeable`: an address to probe is known. */
  | { readonly kind: 'tick'; readonly atMs: MonoMs; readonly probeable: boolean };

/** `fromMs`: when this controller began to lead, or the node joined, whichever is later. */
export function newRecord(fromMs: MonoMs): NodeRecord {
  return { state: undefined, sinceMs: fromMs, heard: false, lastSeenMs: fromMs, overStream: false, restarting: false };
}

/** How often the node is to be probed, ms; undefined: not at all. */
export function probeEveryMs(record: NodeRecord, settings: LivenessSettings): number | undefined {
  if (record.suspicion === undefined) return undefined;
  return record.state === 'unreachable' ? settings.slowProbeIntervalMs : settings.probeIntervalMs;
}

/** How often the node is to be asked over its session, ms; undefined: not at all, its datagrams are heard. */
export function pingEveryMs(record: NodeRecord, nowMs: MonoMs, settings: LivenessSettings): number | undefined {
  // Its first datagrams have their time, or every node that joins would begin its life over its session.
  if (record.state === undefined && nowMs - record.lastSeenMs < settings.firstContactMs / 2) return undefined;
  if (record.state === 'suspect') return settings.urgentPingIntervalMs;
  const heard = record.state === 'ready' && record.suspicion === undefined && !record.overStream;
  return heard ? undefined : settings.pingIntervalMs;
}

export function judge(record: NodeRecord, input: JudgeInput, settings: LivenessSettings): NodeRecord {
  switch (input.kind) {
    case 'heard':
      return hear(record, input, settings);
    case 'stream-heard':
      return hearOverStream(record, input.atMs);
    case 'peer-heard':
      return hearOfPeer(record, input.atMs);
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
  { atMs, restarting, stalledMs, stalledPart }: Extract<JudgeInput, { kind: 'heard' }>,
  settings: LivenessSettings,
): NodeRecord {
  const { suspicion: _over, notAccepting: _before, ...rest } = record;
  const seen = { ...rest, heard: true, lastSeenMs: later(record.lastSeenMs, atMs), overStream: false, restarting };
  const hangs = `${hanging[stalledPart]} for more than ${String(settings.hangAfterMs / 1_000)} s`;
  return enter(stalledMs >= settings.hangAfterMs ? { ...seen, notAccepting: hangs } : seen, 'ready', atMs);
}

const hanging: Readonly<Record<StalledPart, string>> = {
  'main-thread': "its agent's main thread has not moved",
  disk: 'its disk has not answered',
  runtime: 'its container runtime has not answered',
};

/** What is heard by datagram needs no session: an answer that comes late changes nothing. */
function hearOverStream(record: NodeRecord, atMs: MonoMs): NodeRecord {
  if (record.state === 'ready' && record.suspicion === undefined && !record.overStream) return record;
  if (atMs < record.lastSeenMs) return record;
  const { suspicion: _over, ...rest } = record;
  return enter({ ...rest, heard: true, lastSeenMs: atMs, overStream: true }, 'ready', atMs);
}

function hearOfPeer(record: NodeRecord, atMs: MonoMs): NodeRecord {
  const { suspicion } = record;
  if (suspicion === undefined) return record;
  // Once it is unreachable the probes count from here: whether it has fallen silent meanwhile.
  const probes = record.state === 'unreachable' ? 0 : suspicion.probes;
  return { ...record, suspicion: { ...suspicion, probes, peerHeardAtMs: atMs } };
}

function look(record: NodeRecord, atMs: MonoMs, probeable: boolean, settings: LivenessSettings): NodeRecord {
  if (record.state === 'down') return record;
  const silentMs = atMs - record.lastSeenMs;
  const { suspicion } = record;
  if (suspicion === undefined) {
    if (silentMs <= patienceMs(record, settings)) return record;
    const suspected = { ...record, suspicion: { sinceMs: atMs, probes: 0 } };
    return record.heard
      ? enter(suspected, 'suspect', atMs, `not heard for ${String(Math.round(silentMs))} ms`)
      : suspected;
  }
  if (record.state === 'unreachable') return judgeUnreachable(record, suspicion, atMs, settings);
  if (record.restarting) return enter(record, 'unreachable', atMs, 'its agent restarts');
  if (suspicion.refusedAtMs !== undefined) {
    return enter(record, 'unreachable', atMs, 'its host answers, its agent does not');
  }
  const asked = !probeable || suspicion.probes >= settings.minProbes;
  if (!asked || atMs - suspicion.sinceMs < settings.confirmWithinMs) return record;
  if (suspicion.peerHeardAtMs !== undefined) {
    return enter(record, 'unreachable', atMs, 'its peers hear it, this controller does not');
  }
  const what = record.heard ? `not heard for ${String(Math.round(silentMs))} ms` : 'never heard by this controller';
  return giveUp(record, atMs, probeable ? `${what}, ${String(suspicion.probes)} probes unanswered` : what);
}

/** Silence that is no reason for suspicion yet. */
function patienceMs({ heard, overStream }: NodeRecord, settings: LivenessSettings): number {
  if (overStream) return settings.streamSilenceMs;
  return heard ? settings.suspectAfterMs : settings.firstContactMs;
}

/**
 * The grace is for an agent that restarts on a living host, or for a network that is broken in one place only; a host that
 * refused, or that its peers heard, and that then fell silent for all has died meanwhile.
 */
function judgeUnreachable(
  record: NodeRecord,
  suspicion: Suspicion,
  atMs: MonoMs,
  settings: LivenessSettings,
): NodeRecord {
  const { refusedAtMs, peerHeardAtMs } = suspicion;
  const byPeers = peerHeardAtMs !== undefined;
  const graceMs = byPeers ? settings.unreachableGraceMs : settings.agentGraceMs;
  if (atMs - record.sinceMs >= graceMs) {
    const what = byPeers ? 'only its peers have heard it for' : 'its agent has not come back within';
    return giveUp(record, atMs, `${what} ${String(graceMs)} ms`);
  }
  const answeredAtMs = Math.max(refusedAtMs ?? 0, peerHeardAtMs ?? 0);
  if (record.restarting || answeredAtMs === 0) return record;
  const silentMs = atMs - answeredAtMs;
  if (suspicion.probes < settings.minProbes || silentMs < settings.suspectAfterMs + settings.confirmWithinMs)
    return record;
  const before = byPeers ? 'its peers heard it, then it' : 'its host refused, then';
  return giveUp(record, atMs, `${before} fell silent: ${String(suspicion.probes)} probes unanswered`);
}

function giveUp(record: NodeRecord, atMs: MonoMs, reason: string): NodeRecord {
  const { suspicion: _over, notAccepting: _hang, ...rest } = record;
  return enter({ ...rest, overStream: false }, 'down', atMs, reason);
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
            ...(suspicion.peerHeardAtMs === undefined ? {} : { peerHeardAtMs: moved(suspicion.peerHeardAtMs) }),
          },
        }),
  };
}

const later = (a: MonoMs, b: MonoMs): MonoMs => (a > b ? a : b);
