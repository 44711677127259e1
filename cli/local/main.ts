/** The programs of cli/local that run by themselves: `supervise NAME`, `sweep PREFIX`, `tour`. People use `frota cluster`. */
import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { FrotaError, describeError } from '../../proto/base/errors.ts';
import { createLogDestination } from '../../proto/base/log-destination.ts';
import { configFolder, removeContext } from '../contexts/contexts-file.ts';
import { placeOf } from './place.ts';
import { supervise } from './supervise.ts';
import { sweepClusters } from './sweep.ts';

async function main(args: readonly string[]): Promise<void> {
  const [verb, argument = ''] = args;
  switch (verb) {
    case 'supervise':
      return superviseUntilTold(argument);
    case 'sweep': {
      const contexts = { remove: (name: string) => removeContext(configFolder(process.env), name) };
      const names = await sweepClusters(argument, contexts);
      for (const name of names) process.stderr.write(`removed cluster ${name}\n`);
      return;
    }
    case 'tour': {
      // Loaded only here: a supervisor lives for weeks and needs nothing of it.
      const { runTour } = await import('./tour/tour.ts');
      return runTour();
    }
    default:
      throw new FrotaError('invalid', 'expected: supervise NAME | sweep PREFIX | tour');
  }
}

async function superviseUntilTold(name: string): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
  // The terminal it was started from goes away; the cluster stays.
  process.on('SIGHUP', () => undefined);
  const place = placeOf(name, process.env);
  const log = pino(
    { base: { cluster: name } },
    createLogDestination((bytes) => writeSync(1, bytes)),
  );
  await supervise({ place, env: process.env, log, signal: stop.signal });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`frota local: ${describeError(error)}\n`);
  process.exitCode = 1;
}
