/** What the main thread and the worker tell each other. Plain data that survives structured cloning. */
import type { LivenessPeer } from '../../proto/codec/dispatch.ts';

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
  /** Int32 by `mark`. Writer: the main thread; reader: the worker. */
  readonly marks: SharedArrayBuffer;
}

/** Raised while the main thread makes progress; for how long the oldest call to disk or runtime has been out, ms. */
export const mark = { progress: 0, disk: 1, runtime: 2 } as const;
export const marksBytes = 3 * Int32Array.BYTES_PER_ELEMENT;

export type ToWorker =
  | { readonly kind: 'controller'; readonly target: HeartbeatTarget }
  /** All peers that may be probed; those left out are forgotten. */
  | { readonly kind: 'plan'; readonly intervalMs: number; readonly peers: readonly LivenessPeer[] }
  /** Nodes whose endpoints this node uses. */
  | { readonly kind: 'used'; readonly nodeIds: readonly string[] }
  | { readonly kind: 'restart' }
  | { readonly kind: 'close' };

export type FromWorker =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'failed'; readonly message: string }
  /** All nodes that do not answer this one; until the next such message. */
  | { readonly kind: 'silent'; readonly nodeIds: readonly string[] };
