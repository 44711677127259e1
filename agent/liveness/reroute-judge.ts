/**
 * PURE: which peers this node's own traffic should avoid for now. One record a peer, from its answers to this node's probes
 * alone. It only takes away and gives back what the controller has given; the controller decides what is lost.
 */
import type { MonoMs } from '../../proto/base/clock.ts';

export interface RerouteSettings {
  /** Between probes of a peer that answers, ms. */
  readonly probeEveryMs: number;
  /** Silence after which it is probed in quick succession, ms. */
  readonly silentAfterMs: number;
  readonly fastProbeEveryMs: number;
  /** So many of those must have gone unanswered. */
  readonly fastProbes: number;
  readonly rerouteAfterMs: number;
  /** Answers in a row that bring it back. */
  readonly backAfterAnswers: number;
}

export const defaultRerouteSettings: RerouteSettings = {
  probeEveryMs: 100,
  // One probe may be lost or late.
  silentAfterMs: 200,
  fastProbeEveryMs: 10,
  fastProbes: 15,
  rerouteAfterMs: 350,
  backAfterAnswers: 3,
};

export interface PeerRecord {
  /** Its last answer, a refusal included. Undefined: never; of such a peer nothing is concluded. */
  readonly answeredAtMs: MonoMs | undefined;
  /** Sent in quick succession since then. */
  readonly fastProbes: number;
  readonly out: boolean;
  /** In a row, while it is out. */
  readonly answers: number;
}

export type PeerInput =
  | { readonly kind: 'answered'; readonly atMs: MonoMs }
  /** "Port unreachable": the host lives, and its containers most likely with it. */
  | { readonly kind: 'refused'; readonly atMs: MonoMs }
  | { readonly kind: 'sent'; readonly atMs: MonoMs }
  /** This thread stood still for so long. */
  | { readonly kind: 'own-stall'; readonly atMs: MonoMs; readonly durationMs: number };

export const newPeerRecord: PeerRecord = { answeredAtMs: undefined, fastProbes: 0, out: false, answers: 0 };

export function takePeer(record: PeerRecord, input: PeerInput, settings: RerouteSettings): PeerRecord {
  const { answeredAtMs, answers, out } = record;
  switch (input.kind) {
    case 'answered': {
      const inARow = out ? answers + 1 : 0;
      const back = !out || inARow >= settings.backAfterAnswers;
      return { answeredAtMs: input.atMs, fastProbes: 0, out: !back, answers: back ? 0 : inARow };
    }
    case 'refused':
      return { ...record, answeredAtMs: input.atMs, fastProbes: 0 };
    case 'sent':
      if (isQuiet(record, input.atMs, settings)) return { ...record, fastProbes: record.fastProbes + 1, answers: 0 };
      return record;
    case 'own-stall': {
      if (answeredAtMs === undefined) return record;
      const moved = Math.min(input.atMs, answeredAtMs + input.durationMs) as MonoMs;
      // What was sent before may have been answered meanwhile.
      return { ...record, answeredAtMs: moved, fastProbes: 0 };
    }
  }
}

/** Until the next probe of this peer, ms. */
export function peerProbeEveryMs(record: PeerRecord, nowMs: MonoMs, settings: RerouteSettings): number {
  return !record.out && isQuiet(record, nowMs, settings) ? settings.fastProbeEveryMs : settings.probeEveryMs;
}

/**
 * Takes out those that have been silent for too long, provided that this node hears somebody: one that hears nobody has
 * lost its own way out.
 */
export function judgePeers(
  records: ReadonlyMap<string, PeerRecord>,
  nowMs: MonoMs,
  settings: RerouteSettings,
): ReadonlyMap<string, PeerRecord> {
  const hears = [...records.values()].some((one) => one.answeredAtMs !== undefined && !isQuiet(one, nowMs, settings));
  if (!hears) return records;
  return new Map(
    [...records].map(([nodeId, record]) => {
      const { answeredAtMs, fastProbes, out } = record;
      const silent = answeredAtMs !== undefined && nowMs - answeredAtMs >= settings.rerouteAfterMs;
      if (out || !silent || fastProbes < settings.fastProbes) return [nodeId, record];
      return [nodeId, { ...record, out: true, answers: 0 }];
    }),
  );
}

function isQuiet({ answeredAtMs }: PeerRecord, nowMs: MonoMs, settings: RerouteSettings): boolean {
  return answeredAtMs !== undefined && nowMs - answeredAtMs >= settings.silentAfterMs;
}
