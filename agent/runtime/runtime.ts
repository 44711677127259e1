/** The runtime port: one container's life, told in steps that can be repeated after any crash. */
import type { Readable, Writable } from 'node:stream';
import type { LogLine, LogQuery } from '../../proto/domain/logs.ts';
import type { ResourceLimits } from '../../proto/domain/resources.ts';

/** Everything a container is made of; the agent's `execute` builds it from the task, its image and its network. */
export interface ContainerSpec {
  /** The task's id. */
  readonly id: string;
  /** Whose attempt it is (`shop/web.2`): of each slot the last few logs are kept. */
  readonly slot: string;
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
  /** Host files bound read-only over files of the container: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`, configs and secrets. */
  readonly files: readonly { readonly source: string; readonly target: string }[];
  /** Each in a place of its own, which is made where the image lacks it; symlinks of the image never lead out of it. */
  readonly mounts: readonly ContainerMount[];
}

/** A folder (or, with `bind`, a file) that a container finds besides its image. */
export type ContainerMount =
  | {
      readonly kind: 'bind';
      /** Path on this host; what is mounted below it comes along. */
      readonly source: string;
      readonly target: string;
      readonly readOnly: boolean;
    }
  | {
      readonly kind: 'tmpfs';
      readonly target: string;
      readonly readOnly: boolean;
      readonly sizeBytes?: number;
      readonly mode: number;
    };

/** How a container ended. */
export interface ContainerExit {
  /** 128 + signal when a signal ended it; absent when nobody saw it end (`reason` says so). */
  readonly exitCode?: number;
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

/** A command to run in a container that runs, beside what it runs already. */
export interface ExecRequest {
  readonly args: readonly string[];
  /** `KEY=value`; over the container's own. */
  readonly environment?: readonly string[];
  /** As in the image config, looked up in the container; absent: who the container runs as. */
  readonly user?: string;
  /** Absent: the container's own. */
  readonly workingDir?: string;
  /** The command gets a terminal: one stream of output, line editing, signals from keys. */
  readonly tty?: boolean;
  /** Of the terminal, at the start. */
  readonly size?: TerminalSize;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/**
 * A command that was started in a container. What is not read holds it back, so both outputs must be read. Its end takes
 * with it whatever it left in its session; what made a session of its own (`setsid`) is the container's from then on.
 */
export interface Exec {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Empty with a terminal. */
  readonly stderr: Readable;
  /** Of the terminal; nothing happens without one. */
  resize(columns: number, rows: number): void;
  /**
   * The command has ended and nothing is left of it. 126: it can't be executed, 127: it is not there (the words are on
   * an output), 128 + signal: a signal ended it. Rejects (`unavailable`) only when nobody saw how it ended.
   */
  readonly done: Promise<{ readonly exitCode: number }>;
  /** SIGKILL for the command and all that came of it, whatever session that is in; resolves when they are gone. */
  kill(): Promise<void>;
}

/** What came of a command that was given a time. `output`: both streams as they came, cut at the size asked for. */
export type CapturedExec =
  | { readonly kind: 'exited'; readonly exitCode: number; readonly output: string }
  | { readonly kind: 'timed-out'; readonly output: string };

export interface CaptureOptions {
  /** From the call on; then the command is killed, with all that came of it. */
  readonly timeoutMs: number;
  /** More output than this is read and thrown away. */
  readonly maxOutputBytes: number;
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
  /**
   * Kills what still runs and removes container, conmon, mount, cgroup and bundle; its log is kept for a while. No error
   * if nothing is there.
   */
  remove(id: string): Promise<void>;
  /**
   * Starts a command in a running container, with the container's environment, capabilities and limits. Aborting
   * `signal` kills it. Throws `not-found` and `conflict` (with the state) where no container of that id runs, `invalid`
   * for what the container can't give: an unknown user, a folder that is not there.
   */
  exec(id: string, request: ExecRequest, signal: AbortSignal): Promise<Exec>;
  /** The same to its end, for commands that answer by their exit code. Throws as `exec`, and `cancelled`. */
  execCaptured(id: string, request: ExecRequest, options: CaptureOptions, signal: AbortSignal): Promise<CapturedExec>;
  /**
   * What the container wrote, in batches, oldest first; of removed containers too, as long as their log is kept. Ends
   * quietly when `signal` aborts. Throws `not-found`.
   */
  logs(id: string, query: LogQuery, signal: AbortSignal): AsyncIterable<readonly LogLine[]>;
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
