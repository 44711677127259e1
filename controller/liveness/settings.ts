/** Every time and count of liveness, in one place. Detection time and false alarms pull against each other: measure both. */
export interface LivenessSettings {
  /** Agents send this often, ms. */
  readonly heartbeatIntervalMs: number;
  /** Silence after which a node is suspected and probed, ms. */
  readonly suspectAfterMs: number;
  /** The same for a node this controller has not heard yet, counted from when it began to lead or the node joined, ms. */
  readonly firstContactMs: number;
  /** Time the probes get, ms. */
  readonly confirmWithinMs: number;
  /** No node is lost before this many probes went unanswered. */
  readonly minProbes: number;
  readonly probeIntervalMs: number;
  /** Between probes of an unreachable node, ms. */
  readonly slowProbeIntervalMs: number;
  /** How many of its peers are asked to probe a silent node. */
  readonly askedPeers: number;
  /** How long a node that its peers hear and this controller does not keeps its tasks, ms. */
  readonly unreachableGraceMs: number;
  /** Silence after which a node that is heard over its session alone is suspected, ms. */
  readonly streamSilenceMs: number;
  /** Between questions over the session of a node whose datagrams stay away: while it is suspect, ms. */
  readonly urgentPingIntervalMs: number;
  /** The same while it is heard that way, and while it is not heard at all, ms. */
  readonly pingIntervalMs: number;
  /** How long a host that refuses the probes, or said it restarts its agent, keeps its tasks, ms. */
  readonly agentGraceMs: number;
  /** An agent whose main thread, disk or runtime stands still this long takes no new tasks, ms. */
  readonly hangAfterMs: number;
  /** Between two looks at all nodes, ms. */
  readonly tickMs: number;
  /** A look this late, ms, means that this thread stood still itself; that time counts against no node. */
  readonly ownStallMs: number;
}

/** What a person may set; all else follows from it. */
export type LivenessTimes = Pick<
  LivenessSettings,
  'heartbeatIntervalMs' | 'suspectAfterMs' | 'confirmWithinMs' | 'agentGraceMs' | 'unreachableGraceMs'
>;

export const defaultLivenessTimes: LivenessTimes = {
  heartbeatIntervalMs: 100,
  // Three heartbeats may be lost or late; the fourth is an alarm. More often and more of them rather than seldom and few: with a fifth
  // of all datagrams lost, three in a row of 200 ms are silent once in 125 times, four of 100 ms once in 625, and a death is seen sooner.
  suspectAfterMs: 400,
  confirmWithinMs: 150,
  agentGraceMs: 10_000,
  unreachableGraceMs: 30_000,
};

/** No node is lost before this many probes went unanswered. */
const minProbes = 5;
/** A suspicion after fewer heartbeats would be raised by each one that is lost. */
export const minSilentHeartbeats = 2;
/** Probes closer together than this, ms, would only queue up behind each other. */
const minProbeIntervalMs = 5;
/** The shortest time that the probes can be sent in, ms. */
export const minConfirmWithinMs = minProbeIntervalMs * (minProbes + 1);
/** A cluster that is started as a whole: agents need a moment longer than their controller, ms. */
const minFirstContactMs = 3_000;
/** Its main thread answers over a session, which may be busy for a moment; five questions may stay unanswered, ms. */
const minStreamSilenceMs = 3_000;

/** All settings for these times. */
export function livenessSettings(times: LivenessTimes): LivenessSettings {
  return {
    ...times,
    firstContactMs: Math.max(minFirstContactMs, 2 * times.suspectAfterMs),
    minProbes,
    // One more than needed fits into confirmWithinMs, so that all needed are sent for sure.
    probeIntervalMs: Math.floor(times.confirmWithinMs / (minProbes + 1)),
    slowProbeIntervalMs: 250,
    askedPeers: 3,
    streamSilenceMs: Math.max(minStreamSilenceMs, 2 * times.suspectAfterMs),
    // Three questions fit into confirmWithinMs.
    urgentPingIntervalMs: Math.floor(times.confirmWithinMs / 3),
    pingIntervalMs: 500,
    hangAfterMs: 5_000,
    tickMs: 25,
    ownStallMs: 100,
  };
}

export const defaultLivenessSettings: LivenessSettings = livenessSettings(defaultLivenessTimes);

/** What a controller hears of heartbeats a second, at the most; more nodes than that allows send less often. */
export const maxHeartbeatsPerSecond = 2_500;
/** Intervals are multiples of this, ms, so that a node more or less seldom changes what all are told. */
const intervalStepMs = 50;

/** How often each of so many nodes is to say that it lives, ms. */
export function heartbeatIntervalFor(nodes: number, baseMs: number): number {
  const leastMs = (nodes * 1_000) / maxHeartbeatsPerSecond;
  return leastMs <= baseMs ? baseMs : Math.ceil(leastMs / intervalStepMs) * intervalStepMs;
}

/** The settings for so many nodes: what silence means follows the interval. */
export function settingsFor(nodes: number, base: LivenessSettings): LivenessSettings {
  const heartbeatIntervalMs = heartbeatIntervalFor(nodes, base.heartbeatIntervalMs);
  const factor = heartbeatIntervalMs / base.heartbeatIntervalMs;
  const suspectAfterMs = Math.round(base.suspectAfterMs * factor);
  const firstContactMs = Math.max(base.firstContactMs, 2 * suspectAfterMs);
  return { ...base, heartbeatIntervalMs, suspectAfterMs, firstContactMs };
}
