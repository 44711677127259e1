import type { Command } from 'commander';
import { configFolder, useContext } from '../contexts/contexts-file.ts';
import { examples, globalOptions, printResult } from './host.ts';
import type { Host } from './host.ts';

export function registerContextUse(context: Command, host: Host): void {
  context
    .command('use')
    .description('choose the cluster that commands go to from now on')
    .argument('<name>', 'a name that `frota context ls` shows')
    .addHelpText('after', examples('context use local'))
    .action(async (name: string, _options: object, command: Command) => {
      await useContext(configFolder(host.environment), name);
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
