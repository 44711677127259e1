/** Drills, joined to the store, to agents and to this process itself. Part of the composition root. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { FrotaError } from '../proto/base/errors.ts';
import type { Clock } from '../proto/base/clock.ts';
import type { Logger } from '../proto/base/log.ts';
import type { ExecInput } from '../proto/domain/exec.ts';
import { DrillRuns } from './drilling/drill-runs.ts';
import { createOwnFault } from './drilling/own-fault.ts';
import { tellStop } from './drilling/stop-signal.ts';
import type { LivenessJudge } from './liveness/liveness-judge.ts';
import { putDrill, readDrills } from './store/drills.ts';
import type { Mirror } from './store/mirror.ts';
import type { Store } from './store/store.ts';
import type { Records } from './store/write-records.ts';
import type { Broker } from './streams/broker.ts';

export interface DrillingParts {
  readonly store: Store;
  readonly mirror: Mirror;
  readonly records: Records;
  readonly judge: LivenessJudge;
  readonly broker: Broker;
  /** The controller's folder. */
  readonly data: string;
  readonly newId: () => string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What stops a drill of a node: 128 bits that nobody guesses within its time. */
const stopKeyBytes = 16;

/** The caller closes it, before the servers. What an earlier controller has begun goes on. */
export async function startDrilling(parts: DrillingParts): Promise<DrillRuns> {
  const { store, mirror, records, judge, broker, data, newId, clock, logger } = parts;
  const drills = new DrillRuns({
    snapshot: () => mirror.snapshot(),
    liveness: () => judge.states(),
    onChange: (listener) => {
      const offs = [mirror.onChange(listener), judge.onChange(listener)];
      return () => {
        for (const off of offs) off();
      };
    },
    order: async (nodeId, order, signal) => {
      for await (const message of broker.open(nodeId, { kind: 'drill', order }, noInput(), signal)) {
        if (message.kind === 'drill') return message.answer;
      }
      throw new FrotaError('unavailable', 'the agent has said nothing');
    },
    tellStop,
    // The agent's part of this program, started as a program.
    self: createOwnFault({
      folder: join(data, 'drills'),
      program: [process.execPath, process.argv[1] ?? '', 'drill-undo'],
    }),
    save: async (drill) => {
      const operations = putDrill(drill, await readDrills(store));
      const [written] = await records.write([{ compares: [], operations }]);
      if (written !== true) throw new FrotaError('conflict', 'the drill could not be written down');
    },
    read: () => readDrills(store),
    newId,
    newKey: () => randomBytes(stopKeyBytes).toString('hex'),
    clock,
    logger,
  });
  await drills.resume();
  return drills;
}

/** An order is all that is said. */
async function* noInput(): AsyncIterable<ExecInput> {
  await Promise.resolve();
}
