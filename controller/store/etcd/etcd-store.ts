/**
 * The store on an etcd cluster. Revisions are etcd's own; each request has a deadline; a write without an answer is
 * told as `unavailable` and never sent again, since etcd may have done it.
 */
import { FrotaError } from '../../../proto/base/errors.ts';
import type { Logger } from '../../../proto/base/log.ts';
import { storeClosed } from '../change-feed.ts';
import { copyTransactions } from '../evaluate.ts';
import { checkRevision, checkTransactions } from '../limits.ts';
import type { Entry, Range, Store } from '../store.ts';
import { createCommitQueue } from './commit-queue.ts';
import { compactionIntervalMs, startCompaction } from './compaction.ts';
import type { EtcdEndpoints } from './endpoints.ts';
import { isOutOfRange } from './etcd-errors.ts';
import { clusterPrefix, createKeySpace } from './key-space.ts';
import type { KeySpace } from './key-space.ts';
import type { EtcdTls } from './member.ts';
import { connectMembers } from './members.ts';
import type { Members } from './members.ts';
import { toRequest, toResults } from './transactions.ts';
import { watchPrefix } from './watch.ts';

export interface EtcdStoreOptions {
  readonly endpoints: EtcdEndpoints;
  /** Needed for secure endpoints. */
  readonly tls?: EtcdTls;
  readonly logger: Logger;
  /** For tests that share an etcd. */
  readonly prefix?: string;
  readonly compactionIntervalMs?: number;
}

/** Entries in one answer: values may be 1 MiB each, and an answer is held in memory as a whole. */
const pageEntries = 500;
/** A range starts anew when its revision is compacted while it is read, which happens every few minutes at the most. */
const maxRangeRounds = 3;

/** @throws FrotaError `unavailable` when no member answers, `forbidden` or `unsupported` when one refuses. */
export async function openEtcdStore(options: EtcdStoreOptions): Promise<Store> {
  const { endpoints, tls, logger, prefix = clusterPrefix } = options;
  const space = createKeySpace(prefix);
  const probeKey = space.key('cluster');
  const members = connectMembers({ endpoints, probeKey, logger, ...(tls === undefined ? {} : { tls }) });
  try {
    await currentRevision(members, probeKey);
  } catch (error) {
    members.close();
    throw error;
  }
  return createStore(members, space, options);
}

function createStore(members: Members, space: KeySpace, options: EtcdStoreOptions): Store {
  const closed = new AbortController();
  let lastChange = 0;
  const revision = (): Promise<number> => currentRevision(members, space.key('cluster'));
  const queue = createCommitQueue(async (transactions) => {
    const request = toRequest(space, transactions);
    const response = await members.write((member, call) => member.kv.txn(request, call));
    const outcome = toResults(transactions, response, lastChange);
    ({ lastChange } = outcome);
    return outcome.results;
  });
  const compact = async (at: number): Promise<void> => {
    checkRevision(at);
    if (closed.signal.aborted) throw storeClosed();
    await compactAt(members, at, await revision());
  };
  const endCompaction = startCompaction({
    currentRevision: revision,
    compact,
    logger: options.logger,
    intervalMs: options.compactionIntervalMs ?? compactionIntervalMs,
  });

  return {
    range: async (prefix) => {
      if (closed.signal.aborted) throw storeClosed();
      return readRange(members, space, prefix);
    },
    commit: async (transactions) => {
      if (closed.signal.aborted) throw storeClosed();
      checkTransactions(transactions);
      return transactions.length === 0 ? [] : queue.commit(copyTransactions(transactions));
    },
    watch: (prefix, fromRevision, signal) =>
      watchPrefix({ members, space, prefix, fromRevision, signal, closed: closed.signal }),
    compact,
    close: async () => {
      if (closed.signal.aborted) return;
      // Streams end first: a connection that is closed under one takes its error with it.
      closed.abort();
      endCompaction();
      await queue.close();
      members.close();
    },
  };
}

async function currentRevision(members: Members, anyKey: Buffer): Promise<number> {
  const { header } = await members.read((member, call) => member.kv.range({ key: anyKey, keys_only: true }, call));
  return Number(header.revision);
}

/** Page after page, all at the revision of the first. */
async function readRange(members: Members, space: KeySpace, prefix: string): Promise<Range> {
  for (let round = 1; ; round += 1) {
    try {
      return await readPages(members, space, prefix);
    } catch (error) {
      if (!isOutOfRange(error)) throw error;
      if (round === maxRangeRounds) {
        throw new FrotaError('unavailable', 'etcd is compacted faster than a range of it can be read; try again', {
          cause: error,
        });
      }
    }
  }
}

async function readPages(members: Members, space: KeySpace, prefix: string): Promise<Range> {
  const entries: Entry[] = [];
  const { key: first, range_end } = space.range(prefix);
  let key = first;
  let revision = 0;
  for (;;) {
    const request = { key, range_end, revision, limit: pageEntries };
    const page = await members.read((member, call) => member.kv.range(request, call));
    revision ||= Number(page.header.revision);
    for (const stored of page.kvs) entries.push(space.entry(stored));
    const last = page.kvs.at(-1);
    if (!page.more || last === undefined) return { entries, revision };
    // The smallest key behind the last one.
    key = Buffer.concat([last.key, Buffer.of(0)]);
  }
}

/** etcd answers a revision yet to come and one compacted before with the same status. */
async function compactAt(members: Members, revision: number, current: number): Promise<void> {
  if (revision > current) {
    throw new FrotaError(
      'invalid',
      `cannot compact at revision ${String(revision)}: the store is at ${String(current)}`,
    );
  }
  try {
    await members.read((member, call) => member.kv.compact({ revision }, call));
  } catch (error) {
    if (!isOutOfRange(error)) throw error;
  }
}
