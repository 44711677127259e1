/** What a stack declares besides its services. `name` is the one in the cluster: `stack_key`, or as the file says with `name` or `external`. */

export interface NetworkSpec {
  /** As the file calls it. */
  readonly key: string;
  readonly name: string;
  /** It is made by another stack, and shared. */
  readonly external: boolean;
  /** No way out of the cluster. */
  readonly internal: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

export interface VolumeSpec {
  /** As the file calls it. */
  readonly key: string;
  readonly name: string;
  /** It is not removed with the stack. */
  readonly external: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

/** A task's place in one network, and the other names it has there. */
export interface NetworkAttachment {
  /** The network's name in the cluster. */
  readonly network: string;
  readonly aliases: readonly string[];
}

/** Another service that a service waits for before its very first start (`depends_on`). */
export interface Dependency {
  readonly service: string;
  readonly condition: 'started' | 'healthy' | 'completed';
  /** False: nothing is waited for where the service is not declared. */
  readonly required: boolean;
}
