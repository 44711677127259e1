import type { Command } from 'commander';
import type { ServiceView, Stuck } from '../../proto/domain/views.ts';
import type { StackProgress } from './control.ts';
import { timeoutOption, waitOption } from './flags.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';
import type { Awaited } from './wait.ts';

interface StatusOptions {
  readonly wait?: boolean;
  readonly timeout: number;
}

export function registerRolloutStatus(rollout: Command, host: Host): void {
  rollout
    .command('status')
    .description('where updates are: how far, since when, and why they stopped')
    .argument('[name]', 'a service (stack/service, stack_service or service) or a stack; default: all services')
    .addOption(waitOption('return only when no update of them is under way; fail where one has failed'))
    .addOption(timeoutOption())
    .addHelpText('after', examples('rollout status', 'rollout status hello/web', 'rollout status hello --wait'))
    .action(async (name: string | undefined, options: StatusOptions, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        let services = await control.rolloutStatus(name, host.signal);
        if (options.wait === true) {
          const { waitForStacks } = await import('./wait.ts');
          await waitForStacks(host, control, awaitedOf(services), { ...globals, timeoutMs: options.timeout });
          services = await control.rolloutStatus(name, host.signal);
        }
        await printResult(host, globals, services, async () => {
          const { rolloutsTable } = await import('../render/rollouts.ts');
          return rolloutsTable(services, host.nowMs(), host.terminal.outColours);
        });
      });
    });
}

/** Only how the updates go on: a service that was never updated is not waited for. */
function awaitedOf(services: readonly ServiceView[]): readonly Awaited[] {
  const isUnderWay = ({ rollout }: ServiceView): boolean =>
    rollout?.state === 'updating' || rollout?.state === 'rolling-back';
  return [...new Set(services.map(({ stack }) => stack))].map((stack) => {
    const names = new Set(services.filter((service) => service.stack === stack).map((service) => service.name));
    const isNamed = (name: string): boolean => names.has(name);
    const failed = (now: StackProgress): readonly Stuck[] =>
      now.stuck.filter(({ service, slot }) => isNamed(service) && slot === null);
    const isCalm = (now: StackProgress): boolean =>
      !now.services.some((service) => isNamed(service.name) && isUnderWay(service));
    return { stack, stuck: failed, reached: (now) => failed(now).length === 0 && isCalm(now) };
  });
}
