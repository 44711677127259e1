import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import { examples, globalOptions, withControl } from './host.ts';
import type { Host } from './host.ts';

export function registerInspect(program: Command, host: Host): void {
  program
    .command('inspect')
    .description('all that is known of stacks, services, tasks and nodes, as JSON')
    .argument('<name...>', 'a stack, service, slot (web.2), task id or its beginning, or node')
    .addHelpText('after', examples('inspect hello', 'inspect hello/web web.2', 'inspect n2'))
    .action(async (names: readonly string[], _options: object, command: Command) => {
      await withControl(host, globalOptions(command), async (control) => {
        const found: object[] = [];
        const missing: string[] = [];
        for (const name of names) {
          const values = await control.inspect(name, host.signal);
          if (values.length === 0) missing.push(name);
          for (const { kind, json } of values) found.push({ kind, ...(JSON.parse(json) as object) });
        }
        // What is there is shown all the same, as docker inspect does.
        host.terminal.out(`${JSON.stringify(found, null, 2)}\n`);
        if (missing.length > 0) {
          const what = missing.map((name) => `"${name}"`).join(', ');
          throw new FrotaError(
            'not-found',
            `no stack, service, task or node is called ${what}; see frota ls, ps and node ls`,
          );
        }
      });
    });
}
