import type { Command } from 'commander';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

export function registerRegistryLogout(registry: Command, host: Host): void {
  registry
    .command('logout')
    .description('take from the cluster what it pulled with from a registry')
    .argument('<registry>', 'as `frota registry ls` shows it')
    .addHelpText('after', examples('registry logout registry.example:5000'))
    .action(async (written: string, _options: object, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const known = await control.registryLogout(written, host.signal);
        await printResult(host, globals, { registry: known }, () => `${known}: the cluster pulls as nobody now\n`);
      });
    });
}
