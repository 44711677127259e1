/** What a node made by itself while it was cut off is adopted or refused before anything else that it says is taken in. */
import type { Clock } from '../../proto/base/clock.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { StatusReport } from '../../proto/codec/status-report.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { judgeLocalAttempts } from './local-attempts.ts';
import type { Adoption, LocalAttempt } from './local-attempts.ts';

export interface AdoptionPorts {
  readonly snapshot: () => Snapshot;
  readonly adopt: (adoptions: readonly Adoption[]) => Promise<readonly boolean[]>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A task changes a few times in its life; more conflicts in a row than this are a sign of something else. */
const maxRounds = 5;

/** @returns ids that the node is to stop and remove. @throws FrotaError `conflict` when it can't be settled now: the agent tells it again. */
export async function settleLocalAttempts(
  { snapshot, adopt, clock, logger }: AdoptionPorts,
  nodeId: string,
  reports: readonly StatusReport[],
): Promise<readonly string[]> {
  let open = reports.flatMap(({ taskId, local }): LocalAttempt[] => (local === undefined ? [] : [{ taskId, local }]));
  const refused: string[] = [];
  for (let round = 0; open.length > 0; round += 1) {
    if (round === maxRounds)
      throw new FrotaError('conflict', 'task records keep changing; the agent tells its own attempts again');
    const { adoptions, unwanted } = judgeLocalAttempts(snapshot(), nodeId, open, clock.now().wallMs);
    refused.push(...unwanted);
    const done = adoptions.length === 0 ? [] : await adopt(adoptions);
    const conflicting = new Set(adoptions.flatMap(({ task }, index) => (done[index] === true ? [] : [task.id])));
    for (const { task, predecessor } of adoptions) {
      if (conflicting.has(task.id)) continue;
      logger.info({ nodeId, taskId: task.id, replaces: predecessor.id }, 'adopted what the node made by itself');
    }
    // Judged anew, on what is there now.
    open = open.filter(({ taskId }) => conflicting.has(taskId));
  }
  if (refused.length > 0) logger.info({ nodeId, taskIds: refused }, 'refused what the node made by itself');
  return refused;
}
