import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import { momentFlag, wholeFlag } from './flags.ts';
import { examples, globalOptions, noteTo, withControl } from './host.ts';
import type { Host } from './host.ts';

interface LogsOptions {
  readonly follow?: boolean;
  readonly since?: number;
  readonly until?: number;
  readonly tail?: number | 'all';
  readonly timestamps?: boolean;
  readonly prefix: boolean;
}

const maxTail = 2 ** 31 - 1;

export function registerLogs(program: Command, host: Host): void {
  program
    .command('logs')
    .description('what tasks wrote, by time; of ended tasks too, as long as their node keeps it')
    .argument('<target...>', 'services, stacks, slots (web.2) or task ids')
    .option('-f, --follow', 'go on with what is written, also by tasks that come, until interrupted')
    .option(
      '--since <moment>',
      'only what is no older: a duration such as 10m, or a time in ISO 8601',
      momentFlag(host),
    )
    .option('--until <moment>', 'only what is older; ends there, with -f too', momentFlag(host))
    .option('-n, --tail <count>', 'of each task the last so many lines, or "all"', tailFlag)
    .option('-t, --timestamps', 'when each line was written, by the clock of its node')
    .option('--no-prefix', 'the lines alone')
    .addHelpText('after', examples('logs web', 'logs -f --tail 20 hello', 'logs --since 10m web.2', 'logs -t 3kx9'))
    .action(async (targets: readonly string[], options: LogsOptions, command: Command) => {
      const globals = globalOptions(command);
      const { LogPrinter } = await import('../render/logs.ts');
      const json = globals.output === 'json';
      const look = { json, prefix: options.prefix, timestamps: options.timestamps === true };
      const printer = new LogPrinter(look, host.terminal.outColours);
      const query = {
        targets,
        follow: options.follow === true && options.until === undefined,
        ...(options.since !== undefined && { since: timeAgo(host, options.since) }),
        ...(options.until !== undefined && { until: timeAgo(host, options.until) }),
        ...(typeof options.tail === 'number' && { tail: options.tail }),
      };
      const note = noteTo(host);
      await withControl(host, globals, async (control) => {
        for await (const { sources, lines, notices } of control.logs(query, host.signal, note)) {
          for (const source of sources) printer.add(source);
          notices.forEach(note);
          if (lines.length > 0) await host.terminal.write(printer.bytes(lines), 'out');
        }
      }).catch((thrown: unknown) => {
        // Who follows ends it with an interrupt: that is no failure.
        if (options.follow === true && host.signal.aborted && FrotaError.from(thrown).code === 'cancelled') return;
        throw thrown;
      });
    });
}

/** `wholeFlag` cannot say "all"; and commander makes an empty text of `undefined`. */
function tailFlag(text: string): number | 'all' {
  if (text === 'all') return text;
  try {
    return wholeFlag(0, maxTail)(text);
  } catch {
    throw new InvalidArgumentError('Write a number of lines, or "all".');
  }
}

/** As in `LogLine.time`; the ninth digit of a moment that a person writes does not matter. */
const timeAgo = (host: Host, agoMs: number): string =>
  new Date(host.nowMs() - agoMs).toISOString().replace('Z', '000000Z');
