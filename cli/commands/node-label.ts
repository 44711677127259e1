import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import { labelNameProblem, labelValueProblem } from '../../proto/domain/node-labels.ts';
import type { NodeView } from '../../proto/domain/views.ts';
import { printable } from '../render/text.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

export function registerNodeLabel(node: Command, host: Host): void {
  node
    .command('label')
    .description('set and remove labels of a node, for constraints and spread of services')
    .argument('<node>', 'its name or id')
    .argument('<change...>', 'KEY=VALUE sets a label, KEY- removes it')
    .addHelpText('after', examples('node label n1 zone=north disk=ssd', 'node label n1 zone-'))
    .action(async (name: string, changes: readonly string[], _options: object, command: Command) => {
      const globals = globalOptions(command);
      const { setLabels, removeLabels } = parseLabelChanges(changes);
      await withControl(host, globals, async (control) => {
        const updated = await control.updateNode({ node: name, setLabels, removeLabels }, host.signal);
        await printResult(host, globals, { nodes: [updated] }, () => labelsText(updated));
      });
    });
}

function labelsText({ name, labels }: NodeView): string {
  const pairs = Object.entries(labels).map(([key, value]) => ` ${key}=${value}`);
  return printable(`${name}:${pairs.length === 0 ? ' no labels' : pairs.join('')}`) + '\n';
}

export interface LabelChanges {
  readonly setLabels: Readonly<Record<string, string>>;
  readonly removeLabels: readonly string[];
}

/** @throws FrotaError `invalid` with one problem for each argument that is neither `KEY=VALUE` nor `KEY-` */
export function parseLabelChanges(written: readonly string[]): LabelChanges {
  const problems: { where: string; message: string }[] = [];
  const setLabels = new Map<string, string>();
  const removeLabels = new Set<string>();
  for (const text of written) {
    const equals = text.indexOf('=');
    const removes = equals === -1 && text.endsWith('-');
    const name = removes ? text.slice(0, -1) : text.slice(0, Math.max(0, equals));
    const value = text.slice(equals + 1);
    const twice = setLabels.has(name) || removeLabels.has(name) ? `label ${name} is named twice` : undefined;
    const message = removes
      ? (labelNameProblem(name) ?? twice)
      : equals < 1
        ? 'expected KEY=VALUE, or KEY- to remove a label, for example zone=north'
        : (labelNameProblem(name) ?? labelValueProblem(name, value) ?? twice);
    if (message !== undefined) problems.push({ where: text, message });
    else if (removes) removeLabels.add(name);
    else setLabels.set(name, value);
  }
  if (problems.length > 0) throw new FrotaError('invalid', 'no label was changed', { problems });
  return { setLabels: Object.fromEntries(setLabels), removeLabels: [...removeLabels] };
}
