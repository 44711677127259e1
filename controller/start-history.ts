/** The history on its store, told of every change of liveness. Part of the composition root. */
import type { Clock } from '../proto/base/clock.ts';
import type { Logger } from '../proto/base/log.ts';
import { startChronicle } from './events/chronicle.ts';
import type { Chronicle } from './events/chronicle.ts';
import type { LivenessJudge } from './liveness/liveness-judge.ts';
import type { Leadership } from './store/cluster-record.ts';
import { eventPrefix, parseKey } from './store/keys.ts';
import type { Store } from './store/store.ts';

export interface HistoryParts {
  readonly store: Store;
  readonly leadership: Leadership;
  readonly judge: LivenessJudge;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The caller closes it, before the store. */
export async function startHistory({ store, leadership, judge, clock, logger }: HistoryParts): Promise<Chronicle> {
  const { fence, cluster } = leadership;
  const chronicle = await startChronicle({
    store,
    fence,
    epoch: cluster.epoch,
    prefix: eventPrefix,
    parseKey,
    clock,
    logger,
  });
  judge.onChange(() => {
    chronicle.liveness(judge.states());
  });
  return chronicle;
}
