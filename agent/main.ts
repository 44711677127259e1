/** Entry of the agent: command line, log, signals; `run.ts` joins the parts. */
import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { describeError, FrotaError } from '../proto/base/errors.ts';
import { createLogDestination } from '../proto/base/log-destination.ts';
import { agentCommand } from './options.ts';
import { runAgent } from './run.ts';
import { frotaVersion } from '../proto/base/version.ts';

const abort = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => abort.abort());

const command = agentCommand(frotaVersion, async (options) => {
  const logger = pino(
    { level: options.logLevel, base: { node: options.name } },
    createLogDestination((bytes) => writeSync(1, bytes)),
  );
  try {
    await runAgent(options, logger, abort.signal);
  } catch (thrown) {
    if (abort.signal.aborted) return;
    const error = FrotaError.from(thrown);
    logger.fatal(
      { code: error.code, stack: error.code === 'internal' ? error.stack : undefined },
      describeError(error),
    );
    process.stderr.write(`frota agent: ${describeError(error)}\n`);
    process.exitCode = error.code === 'invalid' ? 2 : 1;
  }
});
// As everywhere in this program: wrong usage, which commander has told by then, ends with 2.
command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));
await command.parseAsync(process.argv.slice(3), { from: 'user' });
// What still holds the event loop (a hanging program, a socket) must not keep a stopped agent alive.
process.exit();
