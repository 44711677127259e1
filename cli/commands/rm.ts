import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import { countText } from '../render/text.ts';
import type { Control } from './control.ts';
import { timeoutOption, waitOption } from './flags.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

interface RmOptions {
  readonly wait?: boolean;
  readonly timeout: number;
}

interface Removed {
  readonly stack: string;
  readonly services: readonly string[];
}

export function registerRm(program: Command, host: Host): void {
  program
    .command('rm')
    .description('remove stacks: their services, and every container of them')
    .argument('<stack...>', 'the stacks to remove')
    .addOption(waitOption('return only when every container of them is gone'))
    .addOption(timeoutOption())
    .addHelpText('after', examples('rm hello', 'rm hello shop --wait'))
    .action(async (stacks: readonly string[], options: RmOptions, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const named = [...new Set(stacks)];
        await refuseUnknown(host, control, named);
        const { removed, failures } = await removeAll(host, control, named);
        if (options.wait === true && removed.length > 0) {
          const { waitForStacks } = await import('./wait.ts');
          const awaited = removed.map(({ stack }) => ({
            stack,
            leaving: true,
            reached: (now: { declared: boolean; tasks: readonly unknown[]; converged: boolean }) =>
              !now.declared && now.tasks.length === 0 && now.converged,
          }));
          await waitForStacks(host, control, awaited, { ...globals, timeoutMs: options.timeout });
        }
        await printResult(host, globals, { stacks: removed }, () => removed.map(removedText).join(''));
        throwFailures(failures);
      });
    });
}

const removedText = ({ stack, services }: Removed): string =>
  `${stack}: removed${services.length === 0 ? '' : ` with ${services.join(', ')}`}\n`;

interface Failure {
  readonly stack: string;
  readonly error: FrotaError;
}

/** A name that is wrong says that something else was meant: then nothing is removed. */
async function refuseUnknown(host: Host, control: Control, stacks: readonly string[]): Promise<void> {
  const problems: { readonly where: string; readonly message: string }[] = [];
  for (const stack of stacks) {
    try {
      await control.listServices(stack, host.signal);
    } catch (thrown) {
      const error = FrotaError.from(thrown);
      if (error.code !== 'not-found') throw error;
      problems.push({ where: stack, message: error.message });
    }
  }
  const [first] = problems;
  if (first === undefined) return;
  const what = problems.length === 1 ? first.message : `${String(problems.length)} stacks do not exist`;
  const rest = stacks.length > problems.length ? '; nothing was removed' : '';
  throw new FrotaError('not-found', `${what}${rest}`, { problems: problems.length === 1 ? [] : problems });
}

/** One stack that can't be removed, because somebody else changes it just then, does not keep the others. */
async function removeAll(
  host: Host,
  control: Control,
  stacks: readonly string[],
): Promise<{ readonly removed: readonly Removed[]; readonly failures: readonly Failure[] }> {
  const removed: Removed[] = [];
  const failures: Failure[] = [];
  for (const stack of stacks) {
    try {
      removed.push({ stack, services: await control.removeStack(stack, host.signal) });
    } catch (thrown) {
      const error = FrotaError.from(thrown);
      if (error.code === 'unavailable' || error.code === 'cancelled') throw error;
      failures.push({ stack, error });
    }
  }
  return { removed, failures };
}

function throwFailures(failures: readonly Failure[]): void {
  const [first, second] = failures;
  if (first === undefined) return;
  if (second === undefined) throw first.error;
  throw new FrotaError(first.error.code, `${countText(failures.length, 'stack')} not removed`, {
    problems: failures.map(({ stack, error }) => ({ where: stack, message: error.message })),
  });
}
