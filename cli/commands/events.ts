import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import { momentFlag, wholeFlag } from './flags.ts';
import { examples, globalOptions, noteTo, withControl } from './host.ts';
import type { Host } from './host.ts';

interface EventsOptions {
  readonly follow?: boolean;
  readonly since?: number;
  readonly until?: number;
  readonly last?: number;
}

/** More than the controller keeps. */
const maxLast = 100_000;

export function registerEvents(program: Command, host: Host): void {
  program
    .command('events')
    .description('what happened in the cluster, in order, and because of what')
    .argument('[subject]', 'only what is about this stack, service, slot (web.2), task or node')
    .option('-f, --follow', 'go on with what happens, until interrupted')
    .option(
      '--since <moment>',
      'only what is no older: a duration such as 10m, or a time in ISO 8601',
      momentFlag(host),
    )
    .option('--until <moment>', 'only what is older; ends there, with -f too', momentFlag(host))
    .option('-n, --last <count>', 'at the most so many of the past', wholeFlag(0, maxLast))
    .addHelpText('after', examples('events', 'events -f', 'events --since 10m hello/web', 'events -n 20 n2'))
    .action(async (subject: string | undefined, options: EventsOptions, command: Command) => {
      const globals = globalOptions(command);
      const { eventLine } = await import('../render/events.ts');
      await withControl(host, globals, async (control) => {
        const request = {
          follow: options.follow === true && options.until === undefined,
          ...(subject !== undefined && { subject }),
          ...(options.since !== undefined && { sinceAgoMs: options.since }),
          ...(options.until !== undefined && { untilAgoMs: options.until }),
          ...(options.last !== undefined && { last: options.last }),
        };
        let told = false;
        for await (const event of control.listEvents(request, host.signal, noteTo(host))) {
          // One object a line, as a history has no end.
          const line = globals.output === 'json' ? JSON.stringify(event) : eventLine(event, host.terminal.outColours);
          host.terminal.out(`${line}\n`);
          told = true;
        }
        if (!told && subject !== undefined) noteTo(host)(`the history tells nothing of "${subject}" in that time`);
      }).catch((thrown: unknown) => {
        // Who follows ends it with an interrupt: that is no failure.
        if (options.follow === true && host.signal.aborted && FrotaError.from(thrown).code === 'cancelled') return;
        throw thrown;
      });
    });
}
