import type { Command } from 'commander';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

export function registerRegistryLs(registry: Command, host: Host): void {
  registry
    .command('ls')
    .description('list the registries that the cluster logs in to, and as whom; never a password')
    .addHelpText('after', examples('registry ls', 'registry ls -o json'))
    .action(async (_options: object, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const known = await control.listRegistries(host.signal);
        const rows = known.map(({ host: registryHost, username }) => ({ registry: registryHost, username }));
        await printResult(host, globals, rows, async () => {
          const { tableText } = await import('../render/table.ts');
          const cells = rows.map((row) => [row.registry, row.username]);
          return tableText(host.terminal.outColours, ['REGISTRY', 'USER'], cells);
        });
      });
    });
}
