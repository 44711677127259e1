/** What the main thread and the worker tell each other. Plain data that survives structured cloning. */
import type { NodeState } from '../../proto/domain/node.ts';
import type { LivenessSettings } from './settings.ts';

export interface WatchedNode {
  readonly nodeId: string;
  readonly address: string;
  /** UDP port on which its agent answers probes. */
  readonly livenessPort: number;
  readonly key: Uint8Array;
}

export interface WorkerStart {
  readonly address: string;
  readonly port: number;
  readonly settings: LivenessSettings;
}

export type ToWorker =
  | { readonly kind: 'nodes'; readonly nodes: readonly WatchedNode[] }
  /** An agent answered a ping over its session. */
  | { readonly kind: 'pong'; readonly nodeId: string; readonly number: number }
  | { readonly kind: 'close' };

export interface StateChange {
  readonly nodeId: string;
  readonly state: NodeState;
  /** Wall time. */
  readonly sinceMs: number;
  readonly reason?: string;
  /** Wall time at which it was last heard; absent of a node that is well. */
  readonly silentSinceMs?: number;
  readonly notAccepting?: string;
  readonly overStream?: true;
}

export type FromWorker =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'states'; readonly changes: readonly StateChange[] }
  /** Ask the node over its session. */
  | { readonly kind: 'ping'; readonly nodeId: string; readonly number: number }
  | { readonly kind: 'own-stall'; readonly durationMs: number };
