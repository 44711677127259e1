import type { PublishedPort, ResolvedImage, RestartPolicy, TaskTemplate } from './service.ts';
import type { NetworkAttachment } from './stack-parts.ts';

/** A task as its node must have it. */
export interface AssignedTask {
  readonly id: string;
  readonly stack: string;
  readonly service: string;
  readonly slot: number;
  /**
   * `draining`: it is leaving every name and port and is stopped once the nodes that serve it have said so; it runs on
   * until then. A task that is to be removed is simply not in the list any more.
   */
  readonly desired: 'running' | 'draining' | 'shutdown';
  readonly template: TaskTemplate;
  /** As `Task.fence`: it runs only under a lease. */
  readonly fence?: number;
  /** Absent: its service is declared no more. */
  readonly restart?: RestartRule;
}

/** What decides how a task's slot goes on after its end, as far as its node needs it to decide so by itself. */
export interface RestartRule {
  readonly policy: RestartPolicy;
  /** As `Task` has them. */
  readonly attempt: number;
  readonly quickFailures: number;
  readonly restarts: number;
  /** When those of `Task.restartedAtMs` were made, before the task's creation: a duration means the same on every clock. */
  readonly restartedBeforeMs: readonly number[];
}

/**
 * Whether a node that is cut off from every controller may give the task's slot a new attempt by itself. Asked by that node,
 * and by the controller that is to adopt the attempt.
 */
export const mayRestartAlone = ({ desired, restart, fence, template }: AssignedTask): boolean =>
  // Fenced: without a lease it starts nothing, and only a controller gives one.
  fence === undefined &&
  template.fenceLeaseMs === undefined &&
  desired === 'running' &&
  restart !== undefined &&
  restart.policy.condition !== 'none';

/** All tasks of one node. */
export interface TasksUnit {
  readonly kind: 'tasks';
  readonly tasks: readonly AssignedTask[];
}

export interface Endpoint {
  readonly taskId: string;
  readonly nodeId: string;
  readonly address: string;
  readonly slot: number;
}

/** One service as nodes serve it: its VIP, its published ports, the endpoints behind both. */
export interface ServiceUnit {
  readonly kind: 'service';
  readonly stack: string;
  readonly name: string;
  readonly vip: string;
  readonly ports: readonly PublishedPort[];
  /** Running, healthy and wanted: what names, VIP and ports lead to. */
  readonly endpoints: readonly Endpoint[];
  /** Every task that has an address and has not ended, endpoints included: who belongs to the service's networks. */
  readonly members: readonly Endpoint[];
  readonly networks: readonly NetworkAttachment[];
}

export interface Peer {
  readonly nodeId: string;
  readonly name: string;
  readonly address: string;
  readonly subnet: string;
}

/** The cluster network: pools and every node that has joined, this one included. */
export interface NetworkUnit {
  readonly kind: 'network';
  readonly containerPool: string;
  readonly vipPool: string;
  readonly peers: readonly Peer[];
  /** Names of networks without a way out of the cluster. */
  readonly internal: readonly string[];
}

/** Whether a task on these networks can't leave the cluster. As in Docker, one network with a way out is enough. */
export const isConfined = (networks: readonly string[], { internal }: Pick<NetworkUnit, 'internal'>): boolean =>
  networks.length > 0 && networks.every((network) => internal.includes(network));

/** Images that a node is to have though no task of it needs them now: what a lost node ran starts here without a pull. */
export interface ImagesUnit {
  readonly kind: 'images';
  readonly images: readonly ResolvedImage[];
}

export type Unit = TasksUnit | ServiceUnit | NetworkUnit | ImagesUnit;

/** Identity of a unit within what one node must have: `tasks`, `network`, `images`, `service:STACK/NAME`. */
export function unitKey(unit: Unit): string {
  return unit.kind === 'service' ? serviceUnitKey(unit.stack, unit.name) : unit.kind;
}

export const serviceUnitKey = (stack: string, name: string): string => `service:${stack}/${name}`;

/** A unit with the hash of its encoded bytes: equal revisions are equal contents, across controller restarts too. */
export interface RevisedUnit {
  readonly revision: string;
  readonly unit: Unit;
}
