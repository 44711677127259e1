/** An agent's stand-in that takes orders of drills, one line of JSON each, and answers each with one. Its first line says what it found undone. */
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { silentLogger } from '../../../proto/base/log.ts';
import { describeError } from '../../../proto/base/errors.ts';
import type { DrillOrder } from '../../../proto/domain/drill-orders.ts';
import { NodeDrills } from '../../../agent/drills/node-drills.ts';
import type { ControllerPlace } from '../../../agent/drills/fault-rules.ts';

export interface HurtAgentOptions {
  readonly folder: string;
  readonly undoer: string;
  readonly probeWorker: string;
  readonly address: string;
  readonly cgroupParent: string;
  readonly controller: ControllerPlace;
}

const options = JSON.parse(process.argv[2] ?? '') as HurtAgentOptions;
const { folder, address, cgroupParent, controller } = options;
const drills = new NodeDrills({
  folder,
  undoProgram: [process.execPath, options.undoer, 'drill-undo'],
  probeWorkerUrl: pathToFileURL(options.probeWorker),
  grounds: { address, livenessPort: 7403, cgroupParent, controller: () => controller },
  logger: silentLogger,
});
await drills.resume();
process.stdout.write('{"kind":"ready"}\n');
for await (const line of createInterface({ input: process.stdin })) {
  const answer = await drills
    .take(JSON.parse(line) as DrillOrder)
    .catch((error: unknown) => ({ kind: 'failed', message: describeError(error) }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
// Standard input of one that is started again is closed: it lives on all the same.
setInterval(() => undefined, 1_000);
