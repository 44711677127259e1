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
  /** How long a host that refuses the probes, or said it restarts its agent, keeps its tasks, ms. */
  readonly agentGraceMs: number;
  /** An agent whose main thread stands still this long takes no new tasks, ms. */
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
  agentGraceMs: 10_000,
  hangAfterMs: 5_000,
  tickMs: 25,
  ownStallMs: 100,
};
