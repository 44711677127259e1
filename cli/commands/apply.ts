import type { Command } from 'commander';
import { timeoutOption, waitOption } from './flags.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';
import type { Applied } from './control.ts';

interface ApplyOptions {
  readonly file?: string;
  readonly name?: string;
  readonly wait?: boolean;
  readonly timeout: number;
}

export function registerApply(program: Command, host: Host): void {
  program
    .command('apply')
    .description('declare a stack: make the cluster run what a Compose file says')
    .option('-f, --file <file>', 'the Compose file, or - for standard input (default: compose.yaml in this folder)')
    .option('-n, --name <stack>', "the stack's name (default: the file's name:, else the folder's)")
    .addOption(waitOption('return only when everything runs as declared'))
    .addOption(timeoutOption())
    .addHelpText(
      'after',
      examples(
        'apply',
        'apply -f compose.yaml --wait',
        'apply -n shop -f - < compose.yaml',
        'apply --wait --timeout 2m',
      ),
    )
    .action(async (options: ApplyOptions, command: Command) => {
      const globals = globalOptions(command);
      const { readComposeFile } = await import('./compose-file.ts');
      const { spec, contents } = await readComposeFile(host, options.file, options.name);
      await withControl(host, globals, async (control) => {
        const applied = await control.apply(spec, contents, host.signal);
        if (options.wait === true) {
          const { asDeclared, waitForStacks } = await import('./wait.ts');
          await waitForStacks(host, control, [asDeclared(spec.name, applied.version)], {
            ...globals,
            timeoutMs: options.timeout,
          });
        }
        await printResult(host, globals, { stack: spec.name, ...applied }, () => appliedText(spec.name, applied));
      });
    });
}

function appliedText(stack: string, applied: Applied): string {
  if (!applied.changed) return `${stack}: nothing to change (version ${String(applied.version)})\n`;
  const parts = (['created', 'updated', 'removed', 'unchanged'] as const)
    .filter((kind) => applied[kind].length > 0)
    .map((kind) => `${kind} ${applied[kind].join(', ')}`);
  return `${stack}: version ${String(applied.version)} accepted; ${parts.join('; ')}\n`;
}
