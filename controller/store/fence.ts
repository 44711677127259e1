/**
 * What fences this controller's writes: the revision of the cluster's record, which its start has raised the epoch in.
 * Moving it, within the same epoch, settles what became of a write whose answer was lost: what may still be on its way to
 * the store can no longer be written, and what was written before is in the snapshot from then on.
 */
import { FrotaError } from '../../proto/base/errors.ts';
import { decodeClusterRecord } from '../../proto/codec/records.ts';
import type { Change } from '../plan/snapshot.ts';
import type { Leadership } from './cluster-record.ts';
import { commitChanges } from './commit.ts';
import type { CommitOutcome, Fence } from './commit.ts';
import type { Mirror } from './mirror.ts';
import type { Store, Transaction } from './store.ts';

export interface MovableFence {
  /** To be compared by every write; the same object until it is moved. */
  current(): Fence;
  /**
   * Resolves when the snapshot shows it; several callers share one move.
   * @throws FrotaError `conflict` when another controller leads, else as `Store.commit`.
   */
  move(): Promise<void>;
  /** Resolves when, at some moment since the call, this controller led. @throws as `move`. */
  confirm(): Promise<void>;
}

/** An earlier move whose answer was lost may come in between; a store where that goes on is not well. */
const maxRounds = 3;

export function createFence(store: Store, { cluster, fence }: Leadership, mirror: Mirror): MovableFence {
  let current: Fence = fence;
  let moving: Promise<void> | undefined;

  async function ownRecord(key: string) {
    const entry = (await store.range(key)).entries.find((found) => found.key === key);
    if (entry === undefined || decodeClusterRecord(entry.value).epoch !== cluster.epoch) throw superseded();
    return entry;
  }

  async function move(): Promise<void> {
    const { key } = current;
    for (let round = 0; round < maxRounds; round += 1) {
      const { modRevision, value } = await ownRecord(key);
      const [result] = await store.commit([
        { compares: [{ key, modRevision }], operations: [{ kind: 'put', key, value }] },
      ]);
      if (result?.kind !== 'committed') continue;
      current = { key, modRevision: result.revision };
      await mirror.waitForRevision(result.revision);
      return;
    }
    throw new FrotaError('unavailable', 'the cluster record keeps changing; what was written is not known yet');
  }

  return {
    current: () => current,
    confirm: async () => {
      await ownRecord(current.key);
    },
    move: () => {
      moving ??= move().finally(() => {
        moving = undefined;
      });
      return moving;
    },
  };
}

/** A write meets a fence that was just moved once for each lost answer; a store that loses more in a row is not well. */
const maxFenceRounds = 5;

/** Resolves, when the snapshot shows them, with which of the transactions were committed. @throws as `Store.commit`, and as `move`. */
export function fencedWrites(
  store: Store,
  fence: MovableFence,
  mirror: Mirror,
): (transactions: readonly Transaction[], roundsLeft?: number) => Promise<readonly boolean[]> {
  return async function write(transactions, roundsLeft = maxFenceRounds): Promise<readonly boolean[]> {
    const used = fence.current();
    const results = await store.commit(
      transactions.map(({ compares, operations }) => ({ compares: [...compares, used], operations })),
    );
    const done = results.map((result) => result.kind === 'committed');
    const fencedOff = results.flatMap((result, index) => {
      const transaction = transactions[index];
      const met = result.kind === 'conflict' && result.keys.includes(used.key);
      return met && transaction !== undefined ? [{ index, transaction }] : [];
    });
    if (fencedOff.length > 0) {
      if (roundsLeft === 0) throw new FrotaError('unavailable', 'the fence of the store keeps moving; try again');
      if (fence.current() === used) await fence.move();
      const again = await write(
        fencedOff.map(({ transaction }) => transaction),
        roundsLeft - 1,
      );
      fencedOff.forEach(({ index }, at) => (done[index] = again[at] === true));
    }
    const revisions = results.map((result) => (result.kind === 'committed' ? result.revision : 0));
    await mirror.waitForRevision(Math.max(0, ...revisions));
    return done;
  };
}

/** The plan's changes, as `Records.commit` has them. */
export function planCommits(
  store: Store,
  fence: MovableFence,
  mirror: Mirror,
): (changes: readonly Change[]) => Promise<CommitOutcome> {
  /** A commit failed, and nobody knows how much of it was written. */
  let unsettled = false;
  const settle = async (): Promise<void> => {
    await fence.move();
    unsettled = false;
  };
  return async (changes) => {
    if (unsettled) {
      // Planned on a picture in which what was written then may be missing: a slot could get a second task.
      await settle();
      return { committed: 0, conflicts: changes.length, revision: 0, superseded: false };
    }
    const outcome = await commitChanges(store, changes, fence.current()).catch((error: unknown) => {
      unsettled = true;
      throw error;
    });
    // Unless it was moved by this controller itself, another one has taken over, and this throws.
    if (outcome.superseded) await settle();
    await mirror.waitForRevision(outcome.revision);
    return outcome;
  };
}

const superseded = (): FrotaError =>
  new FrotaError('conflict', 'another controller has taken over this cluster; this one writes nothing any more');
