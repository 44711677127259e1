import type { Command } from 'commander';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

export function registerDrillStop(drill: Command, host: Host): void {
  drill
    .command('stop')
    .description('undo the fault of a drill now; its report says aborted')
    .argument('<id>', 'as `frota drill ls` shows it')
    .addHelpText('after', examples('drill stop k3v9q0wz1a2b'))
    .action(async (id: string, _options: object, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const ended = await control.stopDrill(id, host.signal);
        const { drillJson, reportText } = await import('../render/drills.ts');
        await printResult(host, globals, drillJson(ended), () => reportText(ended, host.terminal.outColours));
      });
    });
}
