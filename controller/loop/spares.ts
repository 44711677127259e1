/** Looks from time to time which nodes are to have images ahead of need. Nothing waits for it: it is in no pass and in no record. */
import type { NodeLiveness } from '../../proto/domain/node.ts';
import type { SpareOptions } from '../plan/spare-images.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import type { SparesByService } from '../schedule/spares.ts';

export interface SparesPorts {
  readonly snapshot: () => Snapshot;
  readonly liveness: () => ReadonlyMap<string, NodeLiveness>;
  readonly choose: (
    snapshot: Snapshot,
    liveness: ReadonlyMap<string, NodeLiveness>,
    options: SpareOptions,
  ) => SparesByService;
  /** For each service. */
  readonly count: number;
}

export interface SpareNodes {
  /** As of the last look. */
  chosen(): SparesByService;
  /** Other nodes were chosen. */
  onChange(listener: () => void): void;
  close(): void;
}

/** A pull takes seconds: to look more often would gain nothing. */
const lookIntervalMs = 1_000;
/** A controller that has just started has not heard every node yet: what it chose then would be the nodes that spoke first. */
const firstLookMs = 5_000;

export function startSpares({ snapshot, liveness, choose, count }: SparesPorts): SpareNodes {
  let chosen: SparesByService = new Map();
  let seen = '';
  const listeners: (() => void)[] = [];
  const look = (): void => {
    const now = snapshot();
    const states = liveness();
    const basis = `${String(now.revision)} ${[...states].map(([nodeId, { state }]) => `${nodeId}=${state}`).join()}`;
    if (basis === seen) return;
    seen = basis;
    const before = chosen;
    chosen = choose(now, states, { count, before });
    if (JSON.stringify([...chosen]) === JSON.stringify([...before])) return;
    for (const listener of listeners) listener();
  };
  let timer = setTimeout(function again() {
    look();
    timer = setTimeout(again, lookIntervalMs);
  }, firstLookMs);
  return {
    chosen: () => chosen,
    onChange: (listener) => {
      listeners.push(listener);
    },
    close: () => {
      clearTimeout(timer);
    },
  };
}
