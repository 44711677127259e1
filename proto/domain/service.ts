import type { ResourceLimits, Resources } from './resources.ts';

export type Protocol = 'tcp' | 'udp';

/** A port as declared; `published` absent means: the cluster chooses one. */
export interface PortSpec {
  readonly target: number;
  readonly published?: number;
  readonly protocol: Protocol;
}

/** A port as every node serves it. */
export interface PublishedPort {
  readonly target: number;
  readonly published: number;
  readonly protocol: Protocol;
}

/** When an ended task is replaced in its slot. Node loss is no exit and is not governed by this, except `none`. */
export interface RestartPolicy {
  readonly condition: 'any' | 'on-failure' | 'none';
  /** Replacements at the most, after which the slot stays ended; absent means no bound. */
  readonly maxAttempts?: number;
}

/** An image as written, and the manifest (or index) digest its tag stood for when the stack was applied. */
export interface ResolvedImage {
  /** Canonical reference without digest: `registry/repository:tag`. */
  readonly reference: string;
  /** `sha256:…` of the manifest or index; empty until `controller/api` has resolved it. */
  readonly digest: string;
}

/**
 * What one container of a service is made of. Two tasks with equal templates are interchangeable; a change of
 * any field replaces the service's tasks, a change of `replicas` does not.
 */
export interface TaskTemplate {
  readonly image: ResolvedImage;
  /** Absent: the image's own. An empty list clears it, as in Compose. */
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** `user`, `uid`, `user:group` or `uid:gid`, as in the image config; absent: the image's own. */
  readonly user?: string;
  readonly workingDir?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly limits: ResourceLimits;
  readonly reservations: Resources;
  /** From stop signal to SIGKILL. */
  readonly stopGracePeriodMs: number;
}

/** A service as declared. Written by `apply` and `scale` inside its stack; read by the plan. */
export interface ServiceSpec {
  readonly name: string;
  readonly template: TaskTemplate;
  readonly replicas: number;
  readonly restart: RestartPolicy;
  readonly ports: readonly PortSpec[];
}

/** All that one Compose file declares. Service names are unique and sorted. */
export interface StackSpec {
  readonly name: string;
  readonly services: readonly ServiceSpec[];
}

/** Stored record. Writer: `controller/api`. One put of it accepts the whole stack. */
export interface Stack {
  readonly spec: StackSpec;
  /** 1 for the first apply, one more for each accepted change. */
  readonly version: number;
  readonly appliedAtMs: number;
  /** Common name of the client certificate that applied it. */
  readonly appliedBy: string;
}

/** Stored record, derived from a stack. Writer: the plan. Holds what must stay the same for the service's life. */
export interface Service {
  readonly stack: string;
  readonly name: string;
  readonly vip: string;
  readonly ports: readonly PublishedPort[];
}

/** `stack/service`, the identity of a service in keys, units and messages. */
export const serviceId = (stack: string, name: string): string => `${stack}/${name}`;
