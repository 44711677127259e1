import { Command, CommanderError, Option } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import { registerApply } from './apply.ts';
import { registerClusterDown } from './cluster-down.ts';
import { registerClusterToken } from './cluster-token.ts';
import { registerClusterUp } from './cluster-up.ts';
import { registerContextLs } from './context-ls.ts';
import { registerContextUse } from './context-use.ts';
import { registerDrillLs } from './drill-ls.ts';
import { registerDrillRun } from './drill-run.ts';
import { registerDrillShow } from './drill-show.ts';
import { registerDrillStop } from './drill-stop.ts';
import { registerEvents } from './events.ts';
import { ExitWith, registerExec, separateCommand } from './exec.ts';
import { exitStatus, exitStatusOf } from './exit-status.ts';
import { examples } from './host.ts';
import type { Host } from './host.ts';
import { registerInspect } from './inspect.ts';
import { registerLogs } from './logs.ts';
import { registerLs } from './ls.ts';
import { registerNodeActivate, registerNodeDrain, registerNodePause } from './node-availability.ts';
import { registerNodeLabel } from './node-label.ts';
import { registerNodeLs } from './node-ls.ts';
import { registerPs } from './ps.ts';
import { registerRegistryLogin } from './registry-login.ts';
import { registerRegistryLogout } from './registry-logout.ts';
import { registerRegistryLs } from './registry-ls.ts';
import { registerRm } from './rm.ts';
import { registerRolloutHistory } from './rollout-history.ts';
import { registerRolloutRestart } from './rollout-restart.ts';
import { registerRolloutStatus } from './rollout-status.ts';
import { registerRolloutUndo } from './rollout-undo.ts';
import { registerScale } from './scale.ts';
import { registerSeparatePrograms } from './separate-programs.ts';
import { ownVersion, registerVersion } from './version.ts';

const exitStatusHelp = `
Exit status:
  0  done
  1  failed
  2  wrong usage, or a Compose file with problems
  3  accepted, but not as declared within --timeout, or with no hope of it
  4  what was named does not exist
  5  the controller, or a registry it asked, can't be reached
  6  a drill failed: something was not as --slo says
  7  a drill was aborted
  8  a drill was refused: nothing was hurt
  130  interrupted
`;

/** The whole command line. Errors are thrown, never printed here; help and versions go to standard output. */
export function createProgram(host: Host): Command {
  const program = new Command('frota')
    .description('Compose files in, containers on every node: a cluster orchestrator with node agents.')
    .addOption(new Option('--context <name>', 'the cluster to talk to (default: FROTA_CONTEXT, else the current one)'))
    .addOption(
      new Option('-o, --output <format>', 'how results are printed').choices(['table', 'json']).default('table'),
    )
    .option('-V, --version', "print this program's version")
    .addHelpText('after', exitStatusHelp)
    .addHelpText('after', examples('cluster up --wait', 'apply -f compose.yaml --wait', 'ps', 'scale web=5'))
    .configureHelp({ showGlobalOptions: true });
  program.on('option:version', () => {
    host.terminal.out(`frota ${ownVersion()}\n`);
    throw new CommanderError(0, 'commander.version', 'the version was printed');
  });
  registerApply(program, host);
  registerLs(program, host);
  registerPs(program, host);
  registerScale(program, host);
  registerRm(program, host);
  const rollout = group(program, 'rollout', 'updates: how far they are, undo, restart', [
    'rollout status',
    'rollout undo hello',
  ]);
  registerRolloutStatus(rollout, host);
  registerRolloutHistory(rollout, host);
  registerRolloutUndo(rollout, host);
  registerRolloutRestart(rollout, host);
  registerLogs(program, host);
  registerExec(program, host);
  registerEvents(program, host);
  registerInspect(program, host);
  const node = group(program, 'node', 'nodes of the cluster', ['node ls', 'node drain n2 --wait']);
  registerNodeLs(node, host);
  registerNodeDrain(node, host);
  registerNodePause(node, host);
  registerNodeActivate(node, host);
  registerNodeLabel(node, host);
  const registry = group(program, 'registry', 'logins of the cluster to image registries', [
    'registry login registry.example:5000',
    'registry ls',
  ]);
  registerRegistryLogin(registry, host);
  registerRegistryLogout(registry, host);
  registerRegistryLs(registry, host);
  registerDrills(program, host);
  const cluster = group(program, 'cluster', 'local clusters, and joining others', ['cluster up', 'cluster down']);
  registerClusterUp(cluster, host);
  registerClusterDown(cluster, host);
  registerClusterToken(cluster, host);
  const context = group(program, 'context', 'the clusters this person knows', ['context ls', 'context use local']);
  registerContextLs(context, host);
  registerContextUse(context, host);
  registerSeparatePrograms(program);
  registerVersion(program, host);
  for (const command of allCommands(program)) {
    command.exitOverride().configureOutput({
      writeOut: (text) => {
        host.terminal.out(text);
      },
      // What commander says about wrong usage is printed by `run`, once, in the form that was asked for.
      writeErr: () => undefined,
    });
  }
  return program;
}

function registerDrills(program: Command, host: Host): void {
  const drill = group(program, 'drill', 'faults on purpose, and what came of them', [
    'drill run node-loss --service web',
    'drill ls',
  ]);
  registerDrillRun(drill, host);
  registerDrillLs(drill, host);
  registerDrillShow(drill, host);
  registerDrillStop(drill, host);
}

const group = (program: Command, name: string, description: string, lines: readonly string[]): Command =>
  program
    .command(name)
    .description(description)
    .addHelpText('after', examples(...lines));

function* allCommands(command: Command): Generator<Command> {
  yield command;
  for (const child of command.commands) yield* allCommands(child);
}

/** Runs one command line and answers its exit status; it never throws. */
export async function run(args: readonly string[], host: Host): Promise<number> {
  try {
    const program = createProgram(host);
    if (args.length === 0) {
      program.outputHelp();
      return exitStatus.done;
    }
    await program.parseAsync([...separateCommand(args)], { from: 'user' });
    return exitStatus.done;
  } catch (thrown) {
    if (thrown instanceof ExitWith) {
      if (thrown.error !== undefined) await printError(thrown.error, args, host);
      return thrown.status;
    }
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return exitStatus.done;
    const error = thrown instanceof CommanderError ? usageError(thrown) : FrotaError.from(thrown);
    await printError(error, args, host);
    return exitStatusOf[error.code];
  }
}

/** Commander's sentence without its prefix; a group without a verb gets one of its own. */
function usageError(error: CommanderError): FrotaError {
  const message =
    error.code === 'commander.help'
      ? 'a verb is missing; add --help to see which there are'
      : error.message.replace(/^error: /u, '').replaceAll(/\n+/gu, ' ');
  return new FrotaError('invalid', message);
}

async function printError(error: FrotaError, args: readonly string[], host: Host): Promise<void> {
  const { errorJson, errorText } = await import('../render/error.ts');
  const { terminal } = host;
  const text = asksForJson(args) ? `${JSON.stringify(errorJson(error))}\n` : errorText(error, terminal.errColours);
  terminal.err(text);
}

/** Read from the words themselves, for the line may be one that commander could not parse. */
export function asksForJson(args: readonly string[]): boolean {
  const format = args.flatMap((arg, index) => {
    if (arg === '-o' || arg === '--output') return [args[index + 1]];
    if (arg.startsWith('--output=')) return [arg.slice('--output='.length)];
    return arg.startsWith('-o') && !arg.startsWith('--') ? [arg.slice(2)] : [];
  });
  return format.at(-1) === 'json';
}
