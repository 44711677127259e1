import type { HealthCheck } from './health.ts';
import type { FileMount, Mount } from './mount.ts';
import type { Placement } from './placement.ts';
import type { ResourceLimits, Resources } from './resources.ts';
import type { Dependency, NetworkAttachment, NetworkSpec, VolumeSpec } from './stack-parts.ts';
import type { Rollout, UpdatePolicy } from './update.ts';

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
  /** Before each replacement; absent: at once the first time, then growing while attempts end quickly. */
  readonly delayMs?: number;
  /** Only replacements within this long before now count against `maxAttempts`; absent: all do. */
  readonly windowMs?: number;
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
  /** As in `isStopSignal`; absent: the image's own, else SIGTERM. */
  readonly stopSignal?: string;
  /** From stop signal to SIGKILL. */
  readonly stopGracePeriodMs: number;
  /** From the last name and port it left to its stop signal (`x-frota.drainDelay`). */
  readonly drainDelayMs: number;
  /** Absent: the image's own, if it has one. */
  readonly healthCheck?: HealthCheck;
  readonly mounts: readonly Mount[];
  readonly files: readonly FileMount[];
  /** At least one; by the network's name. */
  readonly networks: readonly NetworkAttachment[];
  /** Fenced: no two tasks of a slot run at the same time. How long its node may run it after a controller's word; absent: not fenced. */
  readonly fenceLeaseMs?: number;
  /** Raised by `rollout restart`: a change like any other, so that all tasks are replaced under the update's rules. */
  readonly generation: number;
}

/** A service as declared. Written by `apply` and `scale` inside its stack; read by the plan. */
export interface ServiceSpec {
  readonly name: string;
  readonly template: TaskTemplate;
  /** `global`: one task on each node that fits; `replicas` is then without meaning. */
  readonly mode: 'replicated' | 'global';
  readonly replicas: number;
  readonly restart: RestartPolicy;
  readonly ports: readonly PortSpec[];
  /** Of the service itself (`deploy.labels`), not of its containers. */
  readonly labels: Readonly<Record<string, string>>;
  readonly placement: Placement;
  readonly update: UpdatePolicy;
  /** Its `failureAction` is `pause` or `continue`. */
  readonly rollback: UpdatePolicy;
  readonly dependsOn: readonly Dependency[];
  /** What a tag stands for is asked anew at each apply, or kept from the version before where that names the same tag. */
  readonly pullPolicy: 'always' | 'missing';
}

/** All that one Compose file declares. Service names are unique and sorted. */
export interface StackSpec {
  readonly name: string;
  readonly services: readonly ServiceSpec[];
  /** By key. */
  readonly networks: readonly NetworkSpec[];
  /** By key. */
  readonly volumes: readonly VolumeSpec[];
}

export interface KeptContent {
  readonly contentId: string;
  /** The latest version of the stack that refers to it. */
  readonly version: number;
}

/** Stored record. Writer: `controller/api`. One put of it accepts the whole stack. */
export interface Stack {
  readonly spec: StackSpec;
  /** 1 for the first apply, one more for each accepted change. */
  readonly version: number;
  /**
   * The latest version that declared every service anew (apply, undo), so that updates which have failed are tried
   * again. Scale and restart leave it.
   */
  readonly declaredVersion: number;
  /** What an undo may need: configs and secrets its history refers to. They are not thrown away while they stand here. */
  readonly keptContents: readonly KeptContent[];
  readonly appliedAtMs: number;
  /** Common name of the client certificate that had it changed. */
  readonly appliedBy: string;
}

/** Stored record, derived from a stack. Writer: the plan. Holds what must stay the same for the service's life. */
export interface Service {
  readonly stack: string;
  readonly name: string;
  readonly vip: string;
  readonly ports: readonly PublishedPort[];
  /** What its dependencies promise has been so once: from then on nothing of it waits for them. */
  readonly released: boolean;
  /** Slots that hold a named local volume, and the node that has it. */
  readonly pins: readonly Pin[];
  /** The latest update; absent: it was never updated. */
  readonly rollout?: Rollout;
  /** What its tasks were made of before the latest update. Kept until that has completed: a rollback leads there. */
  readonly previous?: TaskTemplate;
}

export interface Pin {
  readonly slot: number;
  readonly nodeId: string;
  /** The slot was not wanted for a while, and left its volume there: whatever comes of its new tasks, they belong there. */
  readonly kept?: true;
}

/** `stack/service`, the identity of a service in keys, units and messages. */
export const serviceId = (stack: string, name: string): string => `${stack}/${name}`;
