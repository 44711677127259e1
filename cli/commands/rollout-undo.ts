import type { Command } from 'commander';
import { countText } from '../render/text.ts';
import type { Undone } from './control.ts';
import { timeoutOption, waitOption, wholeFlag } from './flags.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';
import { maxVersion } from './rollout-history.ts';

interface UndoOptions {
  readonly toRevision?: number;
  readonly wait?: boolean;
  readonly timeout: number;
}

export function registerRolloutUndo(rollout: Command, host: Host): void {
  rollout
    .command('undo')
    .description('declare an earlier version of a stack anew, as a new version')
    .argument('<stack>', 'the stack')
    .option('--to-revision <version>', 'this version (default: the one before the latest)', wholeFlag(1, maxVersion))
    .addOption(waitOption('return only when everything runs as declared'))
    .addOption(timeoutOption())
    .addHelpText('after', examples('rollout undo hello --wait', 'rollout undo hello --to-revision 3'))
    .action(async (stack: string, options: UndoOptions, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const undone = await control.rolloutUndo(stack, options.toRevision, host.signal);
        if (options.wait === true) {
          const { asDeclared, waitForStacks } = await import('./wait.ts');
          await waitForStacks(host, control, [asDeclared(stack, undone.version)], {
            ...globals,
            timeoutMs: options.timeout,
          });
        }
        await printResult(host, globals, { stack, ...undone }, () => undoneText(stack, undone));
      });
    });
}

function undoneText(stack: string, { version, changed, restores, ...services }: Undone): string {
  if (!changed) return `${stack}: as in version ${String(restores)} already (version ${String(version)})\n`;
  const touched = services.created.length + services.updated.length + services.removed.length;
  return `${stack}: version ${String(version)} accepted, as version ${String(restores)} was; ${countText(touched, 'service')} changed\n`;
}
