import type { Command } from 'commander';
import { wholeFlag } from './flags.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

/** As large as a version can become. */
export const maxVersion = 2 ** 32 - 1;

export function registerRolloutHistory(rollout: Command, host: Host): void {
  rollout
    .command('history')
    .description('the accepted versions of a stack: who had it changed when, how, and what; the latest 50 are kept')
    .argument('<stack>', 'the stack')
    .option('--revision <version>', 'only this version, with what it declares', wholeFlag(1, maxVersion))
    .addHelpText('after', examples('rollout history hello', 'rollout history hello --revision 3'))
    .action(async (stack: string, options: { readonly revision?: number }, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const revisions = await control.rolloutHistory(stack, options.revision, host.signal);
        const [only] = revisions;
        const isOne = options.revision !== undefined && only !== undefined;
        await printResult(host, globals, isOne ? only : revisions, async () => {
          const { revisionText, revisionsTable } = await import('../render/rollouts.ts');
          const { outColours } = host.terminal;
          return isOne ? revisionText(stack, only, outColours) : revisionsTable(revisions, host.nowMs(), outColours);
        });
      });
    });
}
