import { Argument, Option } from 'commander';
import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import type { RunDrillRequest } from '../../proto/codec/drills.ts';
import {
  defaultDrillMs,
  defaultProbesPerSecond,
  defaultSlos,
  drillKinds,
  maxProbesPerSecond,
} from '../../proto/domain/drill.ts';
import type { Drill, DrillKind, DrillVerdict, ProbeKind } from '../../proto/domain/drill.ts';
import { parseSlo, placeInSlo } from '../../proto/domain/slo.ts';
import type { Control } from './control.ts';
import { ExitWith } from './exec.ts';
import { exitStatus } from './exit-status.ts';
import { durationFlag, wholeFlag } from './flags.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { GlobalOptions, Host } from './host.ts';

interface RunOptions {
  readonly node?: string;
  readonly random?: boolean;
  readonly service?: string;
  readonly slo?: string;
  readonly for: number;
  readonly rate: number;
  readonly probe: ProbeKind;
  readonly path: string;
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

export function registerDrillRun(drill: Command, host: Host): void {
  drill
    .command('run')
    .description('hurt the cluster on purpose, watch how it recovers, undo it, report')
    .addArgument(new Argument('<kind>', 'what is hurt').choices(drillKinds))
    .option('--node <name>', 'the node that is hurt (default: the one with most tasks of the service)')
    .addOption(new Option('--random', 'any node that runs the service').conflicts('node'))
    .option('--service <name>', 'the service that is asked meanwhile (default: the one that publishes a port)')
    .option(
      '--slo <objectives>',
      'what must hold: recovery<2s, errors<1%, lost=0, separated by commas (default: see below)',
    )
    .addOption(durationOption('--for <duration>', 'how long the fault lasts', defaultDrillMs, '30s'))
    .option(
      '--rate <requests>',
      'requests a second, sent whether or not answers come',
      wholeFlag(1, maxProbesPerSecond),
      defaultProbesPerSecond,
    )
    .addOption(new Option('--probe <kind>', 'what counts as an answer').choices(['http', 'tcp']).default('http'))
    .option('--path <path>', 'what an HTTP probe asks for', '/')
    .option('--force', 'also where tasks would be away for as long as the drill lasts')
    .option('--dry-run', 'only say what would be done')
    .addHelpText('after', helpText)
    .action(async (kind: DrillKind, options: RunOptions, command: Command) => {
      const globals = globalOptions(command);
      const request = requestOf(kind, options);
      await withControl(host, globals, (control) => runToItsEnd(host, globals, control, request));
    });
}

const durationOption = (flags: string, description: string, ms: number, shown: string): Option =>
  new Option(flags, description).argParser(durationFlag).default(ms, shown);

const defaultSloLines = drillKinds.map((kind) => `  ${kind.padEnd(17)}${defaultSlos[kind]}`).join('\n');

const helpText = `
Kinds:
  node-loss        the node's link is cut and its containers are killed
  node-freeze      its agent and its containers stand still
  agent-kill       SIGKILL to its agent; the containers run on
  container-kill   SIGKILL to one container of the service
  controller-kill  SIGKILL to the controller
  partition        the node can't reach the controller; nodes reach each other

Without --slo (errors only where the service publishes a TCP port):
${defaultSloLines}

Exit status: 0 passed, 6 failed, 7 aborted, 8 refused. Ctrl-C undoes the fault at once.
${examples(
  "drill run node-loss --service web --slo 'recovery<2s,errors<1%,lost=0'",
  'drill run container-kill --for 10s -o json | jq .verdict',
  'drill run partition --node n2 --dry-run',
)}`;

/** @throws FrotaError `invalid` for an SLO with problems, all of them, each with its place. */
function requestOf(kind: DrillKind, options: RunOptions): RunDrillRequest {
  const text = options.slo;
  const slo = text === undefined ? undefined : parseSlo(text);
  if (slo?.kind === 'problems') {
    const problems = slo.problems.map((problem) => ({ where: placeInSlo(problem), message: problem.message }));
    throw new FrotaError('invalid', `"${text ?? ''}" is no list of objectives; nothing was hurt`, { problems });
  }
  return {
    kind,
    random: options.random === true,
    slo: text ?? '',
    forMs: options.for,
    perSecond: options.rate,
    probe: options.probe,
    path: options.path,
    force: options.force === true,
    dryRun: options.dryRun === true,
    ...(options.node !== undefined && { node: options.node }),
    ...(options.service !== undefined && { service: options.service }),
  };
}

const statusOf: Readonly<Record<DrillVerdict, number>> = {
  passed: exitStatus.done,
  failed: exitStatus.drillFailed,
  aborted: exitStatus.drillAborted,
};

async function runToItsEnd(
  host: Host,
  globals: GlobalOptions,
  control: Control,
  request: RunDrillRequest,
): Promise<void> {
  const { drillJson, planText, progressText, refusalsText, reportText } = await import('../render/drills.ts');
  const colours = host.terminal.outColours;
  const leaving = new AbortController();
  let last: Drill | undefined;
  // An interrupt undoes the fault and still brings the report; a second one ends this program at once, and the drill with it.
  const onInterrupt = (): void => {
    if (last === undefined) leaving.abort();
    else control.stopDrill(last.id, leaving.signal).catch(() => leaving.abort());
  };
  host.signal.addEventListener('abort', onInterrupt, { once: true });
  try {
    for await (const progress of control.runDrill(request, leaving.signal)) {
      if (progress.kind === 'refused') {
        const { refusals } = progress;
        await printResult(host, globals, { verdict: 'refused', refusals }, () => refusalsText(refusals, colours));
        throw new ExitWith(exitStatus.drillRefused);
      }
      if (progress.kind === 'planned') {
        const { plan } = progress;
        await printResult(host, globals, { verdict: 'ready', plan }, () => planText(plan));
        return;
      }
      const line = progressText(progress.drill, last, host.terminal.errColours);
      if (line !== '') host.terminal.err(line);
      last = progress.drill;
    }
  } finally {
    host.signal.removeEventListener('abort', onInterrupt);
    leaving.abort();
  }
  if (last?.report === undefined)
    throw new FrotaError('unavailable', 'the controller has ended the drill without a report');
  const ended = last;
  await printResult(host, globals, drillJson(ended), () => reportText(ended, colours));
  const status = statusOf[last.report.verdict];
  if (status !== exitStatus.done) throw new ExitWith(status);
}
