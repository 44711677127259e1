/** What the main thread and the worker tell each other. Plain data that survives structured cloning. */

/** Where and how to send heartbeats. */
export interface HeartbeatTarget {
  readonly address: string;
  readonly port: number;
  readonly key: Uint8Array;
  readonly intervalMs: number;
  readonly nodeId: string;
  /** 16 random bytes, new at each start of the agent. */
  readonly bootId: Uint8Array;
}

export interface WorkerStart {
  readonly address: string;
  readonly port: number;
  /** One Int32 that the main thread raises while it makes progress. */
  readonly progress: SharedArrayBuffer;
}

export type ToWorker =
  | { readonly kind: 'controller'; readonly target: HeartbeatTarget }
  | { readonly kind: 'restart' }
  | { readonly kind: 'close' };

export type FromWorker =
  { readonly kind: 'listening'; readonly port: number } | { readonly kind: 'failed'; readonly message: string };
