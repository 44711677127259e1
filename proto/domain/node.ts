import type { Resources } from './resources.ts';

export type Availability = 'active' | 'pause' | 'drain';

/** `ready`: heard; `suspect`: silent for a moment; `unreachable`: its host lives, its agent does not answer; `down`: lost. */
export type NodeState = 'ready' | 'suspect' | 'unreachable' | 'down';

/** Stored record. Writer: `controller/api` (join, availability, labels). */
export interface Node {
  readonly id: string;
  /** Unique in the cluster. */
  readonly name: string;
  readonly availability: Availability;
  /** The node's own part of the container network, CIDR; given at join, never changes. */
  readonly subnet: string;
  readonly joinedAtMs: number;
  /** Set by people (`frota node label`); read by constraints and spread. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Stored record. Writer: `controller/dispatch`, from the agent's hello. */
export interface NodeFacts {
  readonly nodeId: string;
  /** An IP address that the other nodes and the controller reach. */
  readonly address: string;
  /** UDP port on which the agent answers probes. */
  readonly livenessPort: number;
  readonly capacity: Resources;
  /** OCI names: `amd64`, `arm64`. */
  readonly architecture: string;
  readonly os: string;
  readonly agentVersion: string;
}

/** What the liveness judge says of a node. In memory only. */
export interface NodeLiveness {
  readonly state: NodeState;
  /** Wall time at which `state` was entered. */
  readonly sinceMs: number;
  readonly reason?: string;
  /** Wall time at which it was last heard; absent while it is. */
  readonly silentSinceMs?: number;
  /** Wall time at which that was noticed. */
  readonly suspectedAtMs?: number;
  /** Heard, but something of it hangs: what, for people. It gets no new tasks. */
  readonly notAccepting?: string;
  /** Its datagrams stay away; it is heard over its session, where a loss is noticed later. */
  readonly overStream?: true;
}
