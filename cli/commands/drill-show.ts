import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

export function registerDrillShow(drill: Command, host: Host): void {
  drill
    .command('show')
    .description('the report of a drill, or where it is')
    .argument('<id>', 'as `frota drill ls` shows it')
    .addHelpText('after', examples('drill show k3v9q0wz1a2b', 'drill show k3v9q0wz1a2b -o json | jq .tasks'))
    .action(async (id: string, _options: object, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const [found] = await control.listDrills(id, host.signal);
        if (found === undefined) throw new FrotaError('not-found', `there is no drill "${id}"`);
        const { drillJson, reportText } = await import('../render/drills.ts');
        await printResult(host, globals, drillJson(found), () => reportText(found, host.terminal.outColours));
      });
    });
}
