/** The cluster's own record: made at the first start, its epoch raised at every one. Its revision fences this controller's writes. */
import { randomBytes } from 'node:crypto';
import { FrotaError } from '../../proto/base/errors.ts';
import { decodeClusterRecord, encodeClusterRecord } from '../../proto/codec/records.ts';
import type { ClusterRecord } from '../../proto/domain/cluster.ts';
import { clusterKey } from './keys.ts';
import type { Store } from './store.ts';

const secretBytes = 32;
/** Two controllers that start at the same instant raise the epoch one after the other. */
const maxRounds = 10;

export interface Leadership {
  readonly cluster: ClusterRecord;
  /** Every write of this controller compares this; a later controller's start changes it. */
  readonly fence: { readonly key: string; readonly modRevision: number };
}

export interface NewCluster {
  readonly id: string;
  readonly containerPool: string;
  readonly vipPool: string;
  readonly caCertificate: string;
}

/** @throws FrotaError `conflict` when another controller keeps winning, `corrupt` when the store belongs to another CA. */
export async function takeLeadership(store: Store, fresh: NewCluster): Promise<Leadership> {
  for (let round = 0; round < maxRounds; round += 1) {
    const entry = (await store.range(clusterKey)).entries.find(({ key }) => key === clusterKey);
    const before = entry === undefined ? undefined : decodeClusterRecord(entry.value);
    if (before !== undefined && before.caCertificate !== fresh.caCertificate) {
      throw new FrotaError(
        'corrupt',
        'the store and the authority folder belong to different clusters: put back the authority folder that was beside this store',
      );
    }
    const cluster: ClusterRecord =
      before === undefined
        ? { ...fresh, secret: randomBytes(secretBytes), epoch: 1 }
        : { ...before, epoch: before.epoch + 1 };
    const [result] = await store.commit([
      {
        compares: [{ key: clusterKey, modRevision: entry?.modRevision ?? 0 }],
        operations: [{ kind: 'put', key: clusterKey, value: encodeClusterRecord(cluster) }],
      },
    ]);
    if (result?.kind === 'committed') return { cluster, fence: { key: clusterKey, modRevision: result.revision } };
  }
  throw new FrotaError('conflict', 'another controller keeps starting on this store; stop one of them');
}
