import type { Command } from 'commander';
import { configFolder, readContexts } from '../contexts/contexts-file.ts';
import { examples, globalOptions, printResult } from './host.ts';
import type { Host } from './host.ts';

export function registerContextLs(context: Command, host: Host): void {
  context
    .command('ls')
    .description('list the clusters this person knows, and which one commands go to')
    .addHelpText('after', examples('context ls', "context ls -o json | jq -r '.[] | select(.current).name'"))
    .action(async (_options: object, command: Command) => {
      const globals = globalOptions(command);
      const known = await readContexts(configFolder(host.environment));
      const fromEnvironment = host.environment['FROTA_CONTEXT'] ?? '';
      // What a command without --context would talk to, which FROTA_CONTEXT may have changed.
      const current = globals.context ?? (fromEnvironment === '' ? known.current : fromEnvironment);
      const rows = Object.entries(known.contexts)
        .map(([name, { addresses }]) => ({ name, current: name === current, addresses }))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
      await printResult(host, globals, rows, async () => {
        const { tableText } = await import('../render/table.ts');
        const cells = rows.map((row) => [row.current ? '*' : '', row.name, row.addresses.join(', ')]);
        return tableText(host.terminal.outColours, ['CURRENT', 'NAME', 'ADDRESSES'], cells);
      });
    });
}
