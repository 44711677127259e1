/** What people and pipelines see of drills. */
import type {
  Drill,
  DrillPlan,
  DrillRefusal,
  DrillReport,
  LostTask,
  RecoveryPhases,
} from '../../proto/domain/drill.ts';
import { slotName } from '../../proto/domain/task.ts';
import type { Colours } from './colours.ts';
import { tableText } from './table.ts';
import { ageText, countText, printable } from './text.ts';

/** One object: what was done, then the report's own fields; those are null until it has ended. */
export function drillJson({ id, by, state, plan, startedAtMs, faultAtMs, endedAtMs, report }: Drill): object {
  const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    id,
    kind: plan.kind,
    state,
    node: plan.node?.name ?? null,
    task: plan.task ?? null,
    service: plan.service ?? null,
    by,
    startedAt: iso(startedAtMs),
    faultAt: iso(faultAtMs),
    endedAt: iso(endedAtMs),
    forMs: plan.forMs,
    ...(report ?? { verdict: null }),
  };
}

/** `4.21 s`, `830 ms`. */
const msText = (ms: number): string => (ms < 1_000 ? `${String(ms)} ms` : `${(ms / 1_000).toFixed(2)} s`);

/** `node-loss of n2`, `container-kill of hello/web.2 on n1`, `controller-kill`. */
function whatText({ kind, node, task }: DrillPlan): string {
  if (task !== undefined) return `${kind} of ${slotName(task.service, task.slot)} on ${task.node}`;
  return node === undefined ? kind : `${kind} of ${node.name}`;
}

export function planText(plan: DrillPlan): string {
  const { probe, service, expected, forMs, overridden, cautions = [] } = plan;
  const lines = [`${whatText(plan)} for ${msText(forMs)}`];
  if (expected.length > 0) {
    const names = expected.map((task) => slotName(task.service, task.slot));
    lines.push(`takes away ${names.join(', ')}`);
  }
  if (probe === undefined) lines.push('asks nothing: the service publishes no TCP port');
  else {
    const how = `${String(probe.perSecond)} ${probe.kind} requests a second`;
    lines.push(`asks ${service ?? ''} at ${probe.targets.join(', ')}, ${how}, from ${probe.witness.name}`);
  }
  lines.push(...overridden.map((text) => `overridden: ${text}`), ...cautions);
  return `${lines.map(printable).join('\n')}\n`;
}

export function refusalsText(refusals: readonly DrillRefusal[], colours: Colours): string {
  const lines = refusals.map(({ message }) => `  ${message.replaceAll('\n', '\n    ')}\n`);
  return `${colours.red('refused')}: nothing was hurt\n${lines.join('')}`;
}

/** What is new since `before`, for standard error; empty where nothing is. */
export function progressText(drill: Drill, before: Drill | undefined, colours: Colours): string {
  if (drill.state === before?.state) return '';
  const { plan, id } = drill;
  switch (drill.state) {
    case 'arming':
      return `${colours.dim(`drill ${id}:`)} ${whatText(plan)} for ${msText(plan.forMs)}\n`;
    case 'probing':
      return plan.probe === undefined ? '' : `asking ${plan.service ?? ''} from ${plan.probe.witness.name}\n`;
    case 'fault':
      return `${colours.yellow('hurt')}; the undo is armed; Ctrl-C undoes it now\n`;
    case 'undoing':
      return 'undoing\n';
    case 'ended':
      return '';
  }
}

export function drillsTable(drills: readonly Drill[], nowMs: number, colours: Colours): string {
  const rows = drills.map(({ id, plan, state, report, startedAtMs }) => {
    const { recoveryMs = null, probe = null } = report ?? {};
    return [
      id,
      whatText(plan),
      report?.verdict ?? state,
      recoveryMs === null ? '-' : msText(recoveryMs),
      probe === null ? '-' : `${String(probe.errorsPercent)} %`,
      report === undefined ? '-' : String(report.lost),
      ageText(new Date(startedAtMs).toISOString(), nowMs),
    ];
  });
  const head = ['ID', 'DRILL', 'VERDICT', 'RECOVERY', 'ERRORS', 'LOST', 'AGE'];
  return tableText(colours, head, rows, (cell, column) => (column === 2 ? paintVerdict(cell, colours) : cell));
}

const paintVerdict = (verdict: string, colours: Colours): string => {
  if (verdict === 'passed') return colours.green(verdict);
  return verdict === 'failed' || verdict === 'aborted' ? colours.red(verdict) : colours.yellow(verdict);
};

export function reportText(drill: Drill, colours: Colours): string {
  const { plan, report, id, by } = drill;
  const head = `${colours.bold(whatText(plan))}, drill ${id} by ${by}`;
  if (report === undefined) return `${head}\n${drill.state}\n`;
  const reason = report.reason === null ? '' : `: ${report.reason}`;
  const lines = [
    `${head}\n${paintVerdict(report.verdict, colours)}${printable(reason)}`,
    ...report.slo.map(
      (each) => `  ${each.met ? colours.green('met') : colours.red('NOT MET')}  ${objectiveText(each)}`,
    ),
    ...probeLines(report),
    ...(report.lostSlots.length > 0 ? [`lost at the end: ${report.lostSlots.join(', ')}`] : []),
    `undo: ${report.undo.confirmed ? `done${report.undo.by === null ? '' : ` (${report.undo.by})`}` : colours.red('not confirmed')}`,
    ...report.notes.map((note) => `note: ${printable(note)}`),
  ];
  return `${lines.join('\n')}\n${tasksTable(report.tasks, colours)}`;
}

function objectiveText({ objective, measured, met }: DrillReport['slo'][number]): string {
  const isRecovery = objective.startsWith('recovery');
  if (measured === null) {
    const never = isRecovery ? 'not while the drill lasted' : 'nothing was asked';
    return `${objective} (${met ? 'nothing was lost' : never})`;
  }
  if (isRecovery) return `${objective} (${msText(measured)})`;
  return `${objective} (${String(measured)}${objective.startsWith('errors') ? ' %' : ''})`;
}

function probeLines({ probe, recoveryMs }: DrillReport): readonly string[] {
  const recovery = recoveryMs === null ? [] : [`recovery: ${msText(recoveryMs)}`];
  if (probe === null) return recovery;
  const { sent, failed, errorsPercent, longestGapMs, firstFailureMs, lastFailureMs, latencyMs, failures } = probe;
  const when =
    firstFailureMs === null || lastFailureMs === null
      ? ''
      : `, asked ${msText(firstFailureMs)} to ${msText(lastFailureMs)} after the fault`;
  const reasons = Object.entries(failures).map(([reason, times]) => `${String(times)} x ${reason}`);
  return [
    ...recovery,
    `${countText(sent, 'request')}, ${String(failed)} failed (${String(errorsPercent)} %)${when}`,
    ...(reasons.length > 0 ? [`  ${printable(reasons.join(', '))}`] : []),
    `longest gap ${msText(longestGapMs)}; median ${String(latencyMs.median)} ms, p99 ${String(latencyMs.p99)} ms`,
  ];
}

const phases: readonly (keyof RecoveryPhases)[] = [
  'suspected',
  'confirmed',
  'committed',
  'received',
  'created',
  'running',
  'endpoint',
  'answering',
];

/** Milliseconds since the fault. */
function tasksTable(tasks: readonly LostTask[], colours: Colours): string {
  if (tasks.length === 0) return '';
  const rows = tasks.map(({ task, replacement, phasesMs }) => [
    slotName(task.service, task.slot),
    task.node,
    replacement === null || replacement.node === '' ? '-' : replacement.node,
    ...phases.map((phase) => (phasesMs[phase] === null ? '-' : String(phasesMs[phase]))),
  ]);
  const head = ['LOST', 'FROM', 'TO', ...phases.map((phase) => phase.toUpperCase())];
  return `\n${tableText(colours, head, rows)}`;
}
