import type { PublishedPort, TaskTemplate } from './service.ts';

/** A task as its node must have it. */
export interface AssignedTask {
  readonly id: string;
  readonly stack: string;
  readonly service: string;
  readonly slot: number;
  /** A task that is to be removed is simply not in the list any more. */
  readonly desired: 'running' | 'shutdown';
  readonly template: TaskTemplate;
}

/** All tasks of one node. */
export interface TasksUnit {
  readonly kind: 'tasks';
  readonly tasks: readonly AssignedTask[];
}

export interface Endpoint {
  readonly taskId: string;
  readonly nodeId: string;
  readonly address: string;
}

/** One service as nodes serve it: its VIP, its published ports, the endpoints behind both. */
export interface ServiceUnit {
  readonly kind: 'service';
  readonly stack: string;
  readonly name: string;
  readonly vip: string;
  readonly ports: readonly PublishedPort[];
  readonly endpoints: readonly Endpoint[];
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
}

export type Unit = TasksUnit | ServiceUnit | NetworkUnit;

/** Identity of a unit within what one node must have: `tasks`, `network`, `service:STACK/NAME`. */
export function unitKey(unit: Unit): string {
  return unit.kind === 'service' ? `service:${unit.stack}/${unit.name}` : unit.kind;
}

/** A unit with the hash of its encoded bytes: equal revisions are equal contents, across controller restarts too. */
export interface RevisedUnit {
  readonly revision: string;
  readonly unit: Unit;
}
