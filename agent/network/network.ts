/** The network port: addresses of containers, routes to other nodes, VIPs and published ports. */
import type { NetworkUnit, ServiceUnit } from '../../proto/domain/assignment.ts';

/** What a task belongs to. Told by its actor, out of the assignment; the same for the task's whole life. */
export interface TaskPlace {
  readonly stack: string;
  /** Names of networks in the cluster. */
  readonly networks: readonly string[];
}

/** A container's place in the cluster network. */
export interface Attachment {
  readonly taskId: string;
  readonly address: string;
  /** Path of the namespace, e.g. `/run/netns/…`. */
  readonly namespace: string;
  /** Absent when it was attached by an agent that did not record it yet. */
  readonly place?: TaskPlace;
}

/** All that a node's network must be; always complete. */
export interface DesiredNetwork {
  readonly network: NetworkUnit;
  readonly services: readonly ServiceUnit[];
}

export interface NodeNetwork {
  /** Everything attached on this host, found from what the kernel has and what was recorded durably. */
  list(): Promise<readonly Attachment[]>;
  /** Who has this address on this host. */
  resident(address: string): Attachment | undefined;
  /**
   * Namespace, veth, address and route of one container, and the rules that keep it within its networks: in force when
   * this resolves, or with the first `apply` if there was none. Idempotent per task; on failure nothing is left.
   */
  attach(taskId: string, place: TaskPlace): Promise<Attachment>;
  /** Removes all of it and frees the address. No error if nothing is there. */
  detach(taskId: string): Promise<void>;
  /**
   * Makes the node what these units say: overlay routes to every peer, VIPs, published ports, isolation and
   * masquerading rules. Level-triggered and idempotent: called at start and on every change; touches only what
   * differs from the call before. Serial: a later call waits for the earlier one. The first call after a start
   * replaces what an earlier agent had set, in one transaction, so it must already be complete.
   */
  apply(desired: DesiredNetwork): Promise<void>;
  /**
   * Keeps endpoints of these nodes out of VIPs and published ports until the next call, in this and every later `apply`;
   * a service that has no others keeps them. Names and isolation are not changed.
   */
  reroute(silentNodes: ReadonlySet<string>): Promise<void>;
  /** Trusts nothing it has set before: reads the kernel again and makes true what was last applied. */
  repair(): Promise<void>;
  /**
   * Watches the uplink until `signal` aborts, then resolves. When its link has come back, restores the routes that
   * went with it, repairs, and calls `onLinkBack`. Never throws; failures are logged and tried again.
   */
  watch(signal: AbortSignal, onLinkBack?: () => void): Promise<void>;
  /**
   * With `removeAll`: removes all rules, routes, devices and namespaces that this node's agent made, for
   * `cluster down` and leaving. Without: traffic goes on; only this object's own work ends.
   */
  close(options: { readonly removeAll: boolean }): Promise<void>;
}
