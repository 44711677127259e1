import type { Command } from 'commander';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

export function registerNodeLs(node: Command, host: Host): void {
  node
    .command('ls')
    .description('list nodes: state, address, what they have and what is reserved of it')
    .addHelpText('after', examples('node ls', "node ls -o json | jq '.[] | {name, state, address}'"))
    .action(async (_options: object, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const nodes = await control.listNodes(host.signal);
        await printResult(host, globals, nodes, async () => {
          const { nodesTable } = await import('../render/views.ts');
          return nodesTable(nodes, host.nowMs(), host.terminal.outColours);
        });
      });
    });
}
