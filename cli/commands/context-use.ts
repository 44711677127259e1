import type { Command } from 'commander';
import { configFolder, readContextFile, upsertContext, useContext } from '../contexts/contexts-file.ts';
import { examples, globalOptions, printResult } from './host.ts';
import type { Host } from './host.ts';

export function registerContextUse(context: Command, host: Host): void {
  context
    .command('use')
    .description('choose the cluster that commands go to from now on')
    .argument('<name>', 'a name that `frota context ls` shows, or a new one with --from')
    .option('--from <file>', 'take the cluster from a file that its controller wrote, under this name')
    .addHelpText(
      'after',
      examples('context use local', 'context use prod --from /var/lib/frota/controller/admin-context.json'),
    )
    .action(async (name: string, options: { readonly from?: string }, command: Command) => {
      const folder = configFolder(host.environment);
      if (options.from === undefined) await useContext(folder, name);
      else await upsertContext(folder, name, await readContextFile(options.from), true);
      const overriding = host.environment['FROTA_CONTEXT'] ?? '';
      if (overriding !== '' && overriding !== name) {
        host.terminal.err(`FROTA_CONTEXT=${overriding} is set and goes before it\n`);
      }
      await printResult(
        host,
        globalOptions(command),
        { name, current: true },
        () => `${name} is the current context\n`,
      );
    });
}
