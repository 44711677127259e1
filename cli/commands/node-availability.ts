import type { Command } from 'commander';
import type { Availability } from '../../proto/domain/node.ts';
import type { NodeView } from '../../proto/domain/views.ts';
import { countText } from '../render/text.ts';
import { timeoutOption, waitOption } from './flags.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';
import { throwFailures, updateNodes } from './update-nodes.ts';

interface DrainOptions {
  readonly wait?: boolean;
  readonly timeout: number;
}

export function registerNodeDrain(node: Command, host: Host): void {
  node
    .command('drain')
    .description('empty nodes: what runs there is started elsewhere first, and nothing new is placed there')
    .argument('<node...>', 'names or ids of nodes')
    .addOption(waitOption('return only when nothing runs there any more'))
    .addOption(timeoutOption())
    .addHelpText('after', examples('node drain n2 --wait', 'node drain n2 n3 --wait --timeout 5m'))
    .action(async (names: readonly string[], options: DrainOptions, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const { updated, failures } = await updateNodes(host, control, names, { availability: 'drain' });
        let nodes = updated;
        if (options.wait === true && updated.length > 0) {
          const { waitUntilEmpty } = await import('./wait-until-empty.ts');
          nodes = await waitUntilEmpty(host, control, updated, { ...globals, timeoutMs: options.timeout });
        }
        await printResult(host, globals, { nodes }, () => nodes.map(drainedText).join(''));
        throwFailures(failures);
      });
    });
}

const drainedText = ({ name, tasks }: NodeView): string =>
  tasks === 0 ? `${name}: drained, and empty\n` : `${name}: drained, with ${countText(tasks, 'task')} left\n`;

export function registerNodeActivate(node: Command, host: Host): void {
  registerOrder(node, host, {
    verb: 'activate',
    availability: 'active',
    description: 'let nodes take tasks again; what was moved away does not come back by itself',
    done: 'active',
    lines: ['node activate n2'],
  });
}

export function registerNodePause(node: Command, host: Host): void {
  registerOrder(node, host, {
    verb: 'pause',
    availability: 'pause',
    description: 'let nodes keep what they have and take nothing new',
    done: 'paused',
    lines: ['node pause n2', 'node activate n2'],
  });
}

interface Order {
  readonly verb: string;
  readonly availability: Availability;
  readonly description: string;
  readonly done: string;
  readonly lines: readonly string[];
}

function registerOrder(node: Command, host: Host, { verb, availability, description, done, lines }: Order): void {
  node
    .command(verb)
    .description(description)
    .argument('<node...>', 'names or ids of nodes')
    .addHelpText('after', examples(...lines))
    .action(async (names: readonly string[], _options: object, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const { updated, failures } = await updateNodes(host, control, names, { availability });
        await printResult(host, globals, { nodes: updated }, () =>
          updated.map(({ name }) => `${name}: ${done}\n`).join(''),
        );
        throwFailures(failures);
      });
    });
}
