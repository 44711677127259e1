import type { Command } from 'commander';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

export function registerDrillLs(drill: Command, host: Host): void {
  drill
    .command('ls')
    .description('list drills, the latest first')
    .addHelpText('after', examples('drill ls', "drill ls -o json | jq '.[] | {id, kind, verdict}'"))
    .action(async (_options: object, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const drills = await control.listDrills(undefined, host.signal);
        const { drillJson, drillsTable } = await import('../render/drills.ts');
        await printResult(host, globals, drills.map(drillJson), () =>
          drillsTable(drills, host.nowMs(), host.terminal.outColours),
        );
      });
    });
}
