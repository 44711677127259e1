/** What `cluster up` and `cluster down` need of the rest of the CLI, and what they give back. */
import type { NodeState } from '../../proto/domain/node.ts';
import type { Installation } from './installation.ts';

/** One cluster's entry among the person's contexts. The key pair is the administrator's. */
export interface ContextEntry {
  readonly name: string;
  /** `host:port`; the control port first, the join port second. */
  readonly addresses: readonly string[];
  /** PEM. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** `host:port` of the registry beside the cluster. */
  readonly registry: string;
}

export interface Contexts {
  /** Writes or replaces the entry. It becomes the current one if none is current. */
  save(entry: ContextEntry): Promise<void>;
  /** No error if there is none. */
  remove(name: string): Promise<void>;
}

/** The few calls to a controller that starting a cluster takes. */
export interface ControlClient {
  createJoinToken(signal: AbortSignal): Promise<string>;
  listNodes(signal: AbortSignal): Promise<readonly { readonly name: string; readonly state: NodeState }[]>;
  close(): void;
}

export interface LocalPorts {
  readonly contexts: Contexts;
  connect(entry: ContextEntry): ControlClient;
}

export interface UpOptions extends LocalPorts {
  readonly name: string;
  /** How many nodes there must be; without it as many as there are, or `defaultNodes` in a new cluster. */
  readonly nodes?: number;
  /** Return only when the controller says of every node that it is ready. */
  readonly wait: boolean;
  /** One line for people at each step; nothing when there is nothing to do. */
  readonly onProgress?: (line: string) => void;
  /** With `wait`: how the nodes stand, whenever that was asked. */
  readonly onNodes?: (nodes: readonly NodeStanding[]) => void;
  /** With `wait`: how long for the nodes to be ready; without it `nodesTimeoutMs`. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Which installation's programs to start; without it the one this code belongs to. */
  readonly installation?: Installation;
}

export interface NodeStanding {
  readonly name: string;
  /** `starting`: the controller does not know it yet. */
  readonly state: NodeState | 'starting';
}

/** `created`: it was not there; `started`: it was there and did not run; `unchanged`: it ran. */
export type Change = 'created' | 'started' | 'unchanged';

export interface UpNode {
  readonly name: string;
  readonly address: string;
  /** `starting`: its agent runs, the controller was not asked (no `wait`). */
  readonly state: NodeState | 'starting';
  readonly change: Change;
}

/** The object of `frota cluster up -o json`. */
export interface UpResult {
  readonly name: string;
  readonly change: Change;
  readonly subnet: string;
  /** `host:port` of the control port. */
  readonly controller: string;
  readonly nodes: readonly UpNode[];
  /** `host:port`, reached by the nodes and by this machine. */
  readonly registry: string;
  readonly context: string;
  readonly stateFolder: string;
}

export interface DownOptions {
  readonly name: string;
  /** Remove the cluster's folders and its context too. */
  readonly volumes: boolean;
  readonly contexts: Pick<Contexts, 'remove'>;
  readonly onProgress?: (line: string) => void;
}

/** The object of `frota cluster down -o json`. `found`: something of the cluster was there. */
export interface DownResult {
  readonly name: string;
  readonly found: boolean;
  readonly volumesRemoved: boolean;
}
