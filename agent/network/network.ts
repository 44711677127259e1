/** The network port: addresses of containers, routes to other nodes, VIPs and published ports. */
import type { NetworkUnit, ServiceUnit } from '../../proto/domain/assignment.ts';

/** A container's place in the cluster network. */
export interface Attachment {
  readonly taskId: string;
  readonly address: string;
  /** Path of the namespace, e.g. `/run/netns/…`. */
  readonly namespace: string;
}

export interface NodeNetwork {
  /** Everything attached on this host, found from what the kernel has and what was recorded durably. */
  list(): Promise<readonly Attachment[]>;
  /** Namespace, veth, address and route of one container. Idempotent per task; on failure nothing is left. */
  attach(taskId: string): Promise<Attachment>;
  /** Removes all of it and frees the address. No error if nothing is there. */
  detach(taskId: string): Promise<void>;
  /**
   * Makes the node what these units say: overlay routes to every peer, VIPs, published ports, isolation and
   * masquerading rules. Level-triggered and idempotent: called at start, on every change, and after a link came
   * back; touches only what differs. Serial: a later call waits for the earlier one.
   */
  apply(desired: { readonly network: NetworkUnit; readonly services: readonly ServiceUnit[] }): Promise<void>;
  /** Removes all rules, routes, devices and namespaces that this node's agent made. For `cluster down` and leaving. */
  close(options: { readonly removeAll: boolean }): Promise<void>;
}
