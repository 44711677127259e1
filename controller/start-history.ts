/** The history on its store, with the recoveries it tells of, told of every change of liveness. Part of the composition root. */
import type { Clock } from '../proto/base/clock.ts';
import type { Task } from '../proto/domain/task.ts';
import type { Logger } from '../proto/base/log.ts';
import { startChronicle } from './events/chronicle.ts';
import type { Chronicle } from './events/chronicle.ts';
import { createRecoveries } from './events/recoveries.ts';
import type { Recoveries } from './events/recoveries.ts';
import type { LivenessJudge } from './liveness/liveness-judge.ts';
import type { Leadership } from './store/cluster-record.ts';
import { eventPrefix, parseKey } from './store/keys.ts';
import type { Mirror } from './store/mirror.ts';
import type { Store } from './store/store.ts';

export interface HistoryParts {
  readonly store: Store;
  readonly leadership: Leadership;
  readonly judge: LivenessJudge;
  readonly mirror: Mirror;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface History {
  /** The caller closes it, before the store. */
  readonly chronicle: Chronicle;
  readonly recoveries: Recoveries;
  /** The sessions are there: from now on they are asked whether what came back is led to. */
  readonly followSessions: (leadsEverywhere: (task: Task) => boolean) => void;
}

export async function startHistory(parts: HistoryParts): Promise<History> {
  const { store, leadership, judge, mirror, clock, logger } = parts;
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
  let leads = (_task: Task): boolean => false;
  const recoveries = createRecoveries({
    snapshot: () => mirror.snapshot(),
    liveness: () => judge.states(),
    leadsEverywhere: (task) => leads(task),
    nowMs: () => clock.now().wallMs,
    tell: (events) => {
      chronicle.tell(events);
    },
  });
  return {
    chronicle,
    recoveries,
    followSessions: (leadsEverywhere) => {
      leads = leadsEverywhere;
    },
  };
}
