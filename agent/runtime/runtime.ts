/** The runtime port: one container's life, told in steps that can be repeated after any crash. */
import type { ResourceLimits } from '../../proto/domain/resources.ts';

/** Everything a container is made of; the agent's `execute` builds it from the task, its image and its network. */
export interface ContainerSpec {
  /** The task's id. */
  readonly id: string;
  readonly lowerDirs: readonly string[];
  readonly args: readonly string[];
  /** `KEY=value`. */
  readonly environment: readonly string[];
  readonly workingDir: string;
  /** As in the image config; names are looked up in the container's own passwd and group. */
  readonly user: string;
  readonly hostname: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly limits: ResourceLimits;
  /** Path of a network namespace made by `agent/network`. */
  readonly networkNamespace: string;
  /** Host files bound read-only over files of the container: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`. */
  readonly files: readonly { readonly source: string; readonly target: string }[];
}

/** How a container ended. */
export interface ContainerExit {
  /** 128 + signal when a signal ended it; 255 when nobody saw it end (`reason` says so). */
  readonly exitCode: number;
  /** The kernel killed one of its processes for lack of memory, and the container did not end with 0. */
  readonly oomKilled: boolean;
  /** Wall time of this host, ms. */
  readonly finishedAtMs: number;
  /** What is to be said beyond the code, for people. */
  readonly reason?: string;
}

export type ContainerState =
  | { readonly kind: 'created' }
  | { readonly kind: 'running'; readonly pid: number; readonly startedAtMs: number }
  | { readonly kind: 'ended'; readonly startedAtMs?: number; readonly exit: ContainerExit };

export interface Container {
  readonly id: string;
  readonly state: ContainerState;
}

export interface Runtime {
  /**
   * Everything that exists on this host under this runtime's root, whoever started it: containers that outlived a
   * killed agent are found again here, with the exits that happened meanwhile. Half-made ones (a crash during
   * `create`) are removed, not listed.
   */
  list(): Promise<readonly Container[]>;
  /** Mounts the root filesystem and creates the container, its process not yet started. On failure nothing is left. */
  create(spec: ContainerSpec, signal: AbortSignal): Promise<void>;
  start(id: string): Promise<{ readonly pid: number; readonly startedAtMs: number }>;
  /** Sends a signal (`SIGTERM`, `SIGKILL`, a number as text) to the first process (SIGKILL: to all). No error if it has ended. */
  kill(id: string, signal: string): Promise<void>;
  /** Kills what still runs and removes container, conmon, mount, cgroup and bundle. No error if nothing is there. */
  remove(id: string): Promise<void>;
  /** The end of what the container wrote, a few KiB at most; empty when there is nothing. */
  lastOutput(id: string): Promise<string>;
  /**
   * Called once per container that ends from now on, also for those found running by `list`; not for those that `list`
   * first found ended, nor for those that `remove` ends.
   */
  onExit(listener: (id: string, exit: ContainerExit) => void): void;
  /** Stops watching; containers keep running. */
  close(): Promise<void>;
}
