import type { Command } from 'commander';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

export function registerPs(program: Command, host: Host): void {
  program
    .command('ps')
    .description('list tasks: which container of a service is where, in what state, and why')
    .argument('[service]', 'only the tasks of this service (stack/service, stack_service or service) or stack')
    .option('-a, --all', 'ended tasks too')
    .addHelpText('after', examples('ps', 'ps web', 'ps hello/web --all', "ps -o json | jq '.[] | .node'"))
    .action(async (service: string | undefined, options: { readonly all?: boolean }, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const filter = { all: options.all === true, ...(service !== undefined && { service }) };
        const tasks = await control.listTasks(filter, host.signal);
        await printResult(host, globals, tasks, async () => {
          const { tasksTable } = await import('../render/views.ts');
          return tasksTable(tasks, host.nowMs(), host.terminal.outColours);
        });
      });
    });
}
