import type { Command } from 'commander';
import { completedOf, isSettled } from '../render/settled.ts';
import type { Restarted } from './control.ts';
import { timeoutOption, waitOption } from './flags.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';
import type { Awaited } from './wait.ts';

interface RestartOptions {
  readonly wait?: boolean;
  readonly timeout: number;
}

export function registerRolloutRestart(rollout: Command, host: Host): void {
  rollout
    .command('restart')
    .description('replace all tasks of services with new ones, as an update would')
    .argument('<name...>', 'services (stack/service, stack_service or service), or stacks for all of theirs')
    .addOption(waitOption('return only when the new tasks run'))
    .addOption(timeoutOption())
    .addHelpText('after', examples('rollout restart web', 'rollout restart hello --wait'))
    .action(async (names: readonly string[], options: RestartOptions, command: Command) => {
      const globals = globalOptions(command);
      await withControl(host, globals, async (control) => {
        const restarted = await control.rolloutRestart(names, host.signal);
        if (options.wait === true) {
          const { waitForStacks } = await import('./wait.ts');
          await waitForStacks(host, control, restarted.map(awaitedOf), { ...globals, timeoutMs: options.timeout });
        }
        await printResult(host, globals, { stacks: restarted }, () => restarted.map(restartedText).join(''));
      });
    });
}

const restartedText = ({ stack, version, services }: Restarted): string =>
  `${stack}: version ${String(version)} accepted; restarts ${services.join(', ')}\n`;

/** Its siblings' troubles are not waited for. */
function awaitedOf({ stack, version, services }: Restarted): Awaited {
  const named = new Set(services);
  return {
    stack,
    stuck: (now) => (now.version < version ? [] : now.stuck.filter(({ service }) => named.has(service))),
    reached: (now) => {
      if (now.version < version || now.settling.some((service) => named.has(service))) return false;
      if (now.converged) return true;
      const ofThem = now.services.filter(({ name }) => named.has(name));
      const tasks = now.tasks.filter(({ service }) => named.has(service));
      const isUpdated = ({ name, rollout, replicas }: (typeof ofThem)[number]): boolean =>
        (rollout?.state ?? 'completed') === 'completed' &&
        replicas.running + completedOf(now, name) >= replicas.desired;
      return ofThem.every(isUpdated) && tasks.every(isSettled);
    },
  };
}
