import type { Command } from 'commander';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

export function registerLs(program: Command, host: Host): void {
  program
    .command('ls')
    .description('list services: how many replicas run, their images and published ports')
    .argument('[stack]', 'only the services of this stack')
    .addHelpText('after', examples('ls', 'ls hello', "ls -o json | jq '.[].replicas'"))
    .action(async (stack: string | undefined, _options: object, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const services = await control.listServices(stack, host.signal);
        await printResult(host, globals, services, async () => {
          const { servicesTable } = await import('../render/views.ts');
          return servicesTable(services, host.terminal.outColours);
        });
      });
    });
}
