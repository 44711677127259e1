import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import { maxReplicas } from '../../proto/domain/validate.ts';
import { parseWhole } from '../manifest/quantities.ts';
import { isSettled } from '../render/settled.ts';
import type { Scaled, StackProgress } from './control.ts';
import { timeoutOption, waitOption } from './flags.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';
import type { Awaited } from './wait.ts';

interface ScaleOptions {
  readonly wait?: boolean;
  readonly timeout: number;
}

export function registerScale(program: Command, host: Host): void {
  program
    .command('scale')
    .description('set how many replicas services have; nothing else about them changes')
    .argument('<service=replicas...>', 'SERVICE=N; a service is stack/service, stack_service, or service where unique')
    .addOption(waitOption('return only when as many run as asked for, and no more'))
    .addOption(timeoutOption())
    .addHelpText('after', examples('scale web=5', 'scale hello/web=5 hello/counter=2 --wait', 'scale web=0'))
    .action(async (written: readonly string[], options: ScaleOptions, command: Command) => {
      const globals = globalOptions(command);
      const scales = parseScales(written);
      await withControl(host, globals, async (control) => {
        const scaled = await control.scale(scales, host.signal);
        if (options.wait === true) {
          const { waitForStacks } = await import('./wait.ts');
          await waitForStacks(host, control, awaitScaled(scaled), { ...globals, timeoutMs: options.timeout });
        }
        await printResult(host, globals, { services: scaled }, () => scaled.map(scaledText).join(''));
      });
    });
}

const scaledText = ({ stack, service, before, after }: Scaled): string =>
  before === after
    ? `${stack}/${service}: ${String(after)} already\n`
    : `${stack}/${service}: ${String(before)} -> ${String(after)}\n`;

/** @throws FrotaError `invalid` with one problem for each argument that is no `SERVICE=N` */
export function parseScales(written: readonly string[]): readonly { service: string; replicas: number }[] {
  const problems: { where: string; message: string }[] = [];
  const scales = new Map<string, number>();
  for (const text of written) {
    const equals = text.lastIndexOf('=');
    const service = text.slice(0, Math.max(0, equals));
    const replicas = parseWhole(text.slice(equals + 1));
    if (service === '' || replicas === undefined) {
      problems.push({ where: text, message: 'expected SERVICE=N, for example web=5' });
    } else if (replicas > maxReplicas) {
      problems.push({ where: text, message: `a service has at most ${String(maxReplicas)} replicas` });
    } else if (scales.has(service)) {
      problems.push({ where: text, message: `${service} is named twice` });
    } else {
      scales.set(service, replicas);
    }
  }
  if (problems.length > 0) throw new FrotaError('invalid', 'nothing was scaled', { problems });
  return [...scales].map(([service, replicas]) => ({ service, replicas }));
}

/** The reply names no version, so a service counts only once it shows the new number; its siblings' troubles are not waited for. */
function awaitScaled(scaled: readonly Scaled[]): readonly Awaited[] {
  const stacks = [...new Set(scaled.map(({ stack }) => stack))];
  return stacks.map((stack) => ({
    stack,
    // Its size has nothing to do with how its last update ended.
    stuck: (progress: StackProgress) =>
      progress.stuck.filter((one) => one.slot !== null && scaled.some(({ service }) => service === one.service)),
    reached: (progress: StackProgress) =>
      scaled.filter((one) => one.stack === stack).every((one) => hasSize(progress, one)),
  }));
}

/** As many run as are wanted, and none that is not. */
function hasSize(progress: StackProgress, { service, after }: Scaled): boolean {
  if (!progress.services.some(({ name, replicas }) => name === service && replicas.desired === after)) return false;
  if (progress.settling.includes(service)) return false;
  if (progress.converged) return true;
  const tasks = progress.tasks.filter((task) => task.service === service);
  return tasks.length === after && tasks.every(isSettled);
}
