/** A command that is run beside a task, and what passes between the person at it and the container. */

export interface ExecStart {
  /** Towards the controller as a person writes it (`web.2`, a task's id, a service), towards an agent a task's id. */
  readonly target: string;
  readonly args: readonly string[];
  /** `KEY=value`. */
  readonly environment: readonly string[];
  readonly user?: string;
  readonly workingDir?: string;
  readonly tty: boolean;
  readonly size?: { readonly columns: number; readonly rows: number };
}

export type ExecInput =
  | { readonly kind: 'chunk'; readonly chunk: Uint8Array }
  | { readonly kind: 'end' }
  | { readonly kind: 'resize'; readonly columns: number; readonly rows: number };

/** `exit` is the last. */
export type ExecOutput =
  | { readonly kind: 'stdout' | 'stderr'; readonly chunk: Uint8Array }
  | { readonly kind: 'exit'; readonly exitCode: number };
