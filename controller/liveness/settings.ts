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

export const defaultLivenessSettings: LivenessSettings = {
  heartbeatIntervalMs: 200,
  // Two heartbeats may be lost or late; the third is an alarm.
  suspectAfterMs: 600,
  // A cluster that is started as a whole: agents need a moment longer than their controller.
  firstContactMs: 3_000,
  confirmWithinMs: 200,
  minProbes: 5,
  // Six fit into confirmWithinMs, so that five are sent for sure.
  probeIntervalMs: 30,
  slowProbeIntervalMs: 250,
  askedPeers: 3,
  agentGraceMs: 10_000,
  unreachableGraceMs: 30_000,
  // Its main thread answers there, which may be busy for a moment; five questions may stay unanswered.
  streamSilenceMs: 3_000,
  // Three questions fit into confirmWithinMs.
  urgentPingIntervalMs: 60,
  pingIntervalMs: 500,
  hangAfterMs: 5_000,
  tickMs: 25,
  ownStallMs: 100,
};

/** Up to so many nodes send at the base interval; beyond it the controller's load stays what it is here: 2,500 datagrams a second. */
export const fullRateNodes = 500;
/** Intervals are multiples of this, ms, so that a node more or less seldom changes what all are told. */
const intervalStepMs = 50;

/** How often each of so many nodes is to say that it lives, ms. */
export function heartbeatIntervalFor(nodes: number, baseMs = defaultLivenessSettings.heartbeatIntervalMs): number {
  if (nodes <= fullRateNodes) return baseMs;
  return Math.ceil((baseMs * nodes) / fullRateNodes / intervalStepMs) * intervalStepMs;
}

/** The settings for so many nodes: what silence means follows the interval. */
export function settingsFor(nodes: number, base: LivenessSettings): LivenessSettings {
  const heartbeatIntervalMs = heartbeatIntervalFor(nodes, base.heartbeatIntervalMs);
  const factor = heartbeatIntervalMs / base.heartbeatIntervalMs;
  const suspectAfterMs = Math.round(base.suspectAfterMs * factor);
  const firstContactMs = Math.max(base.firstContactMs, 2 * suspectAfterMs);
  return { ...base, heartbeatIntervalMs, suspectAfterMs, firstContactMs };
}
