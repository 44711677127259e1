/** What people see of updates and of a stack's accepted versions. */
import type { RevisionView, RolloutView, ServiceView } from '../../proto/domain/views.ts';
import type { Colours } from './colours.ts';
import { tableText } from './table.ts';
import { ageText, printable } from './text.ts';

const failed = new Set(['paused', 'rolled-back', 'rollback-paused']);

export function rolloutsTable(services: readonly ServiceView[], nowMs: number, colours: Colours): string {
  const rows = services.map(({ stack, name, replicas, rollout }) => [
    `${stack}/${name}`,
    rollout?.state ?? '-',
    rollout === null ? '-' : String(rollout.version),
    rollout === null ? '-' : `${String(rollout.updated)}/${String(replicas.desired)}`,
    rollout === null ? '-' : String(rollout.failed),
    ageText(rollout?.endedAt ?? rollout?.startedAt ?? null, nowMs),
    rollout?.reason ?? '',
  ]);
  const head = ['SERVICE', 'UPDATE', 'VERSION', 'UPDATED', 'FAILED', 'SINCE', 'REASON'];
  return tableText(colours, head, rows, (cell, column) => (column === 1 ? paintRollout(cell, colours) : cell));
}

function paintRollout(cell: string, colours: Colours): string {
  if (failed.has(cell)) return colours.red(cell);
  return cell === 'updating' || cell === 'rolling-back' ? colours.yellow(cell) : cell;
}

/** `updating to version 4, 1 of 3 updated`; empty where there is nothing to say. */
export function rolloutText(rollout: RolloutView | null, desired: number): string {
  if (rollout === null) return '';
  const version = `version ${String(rollout.version)}`;
  const reason = rollout.reason === null ? '' : `: ${printable(rollout.reason)}`;
  switch (rollout.state) {
    case 'completed':
      return '';
    case 'updating': {
      const failures = rollout.failed === 0 ? '' : `, ${String(rollout.failed)} failed`;
      return `updating to ${version}, ${String(rollout.updated)} of ${String(desired)} updated${failures}`;
    }
    case 'paused':
      return `update to ${version} paused${reason}`;
    case 'rolling-back':
      return `rolling back from ${version}${reason}`;
    case 'rolled-back':
      return `rolled back from ${version}${reason}`;
    case 'rollback-paused':
      return `rollback from ${version} paused${reason}`;
  }
}

/** More lines of one version are told with --revision. */
const maxDifferencesShown = 3;

export function revisionsTable(revisions: readonly RevisionView[], nowMs: number, colours: Colours): string {
  const rows = revisions.map((revision) => {
    const { version, current, kind, restores, by, at, differences } = revision;
    const more = differences.length - maxDifferencesShown;
    const shown = differences.slice(0, maxDifferencesShown).join('; ');
    return [
      `${String(version)}${current ? ' *' : ''}`,
      restores === null ? kind : `${kind} to ${String(restores)}`,
      by,
      ageText(at, nowMs),
      more > 0 ? `${shown}; and ${String(more)} more` : shown,
    ];
  });
  return tableText(colours, ['VERSION', 'HOW', 'WHO', 'AGE', 'CHANGES'], rows);
}

export function revisionText(stack: string, revision: RevisionView, colours: Colours): string {
  const { version, current, kind, restores, by, at, differences, services = [] } = revision;
  const how = restores === null ? kind : `${kind} to version ${String(restores)}`;
  const lines = [
    `${colours.bold(`${stack} version ${String(version)}`)}${current ? ' (declared now)' : ''}`,
    `${how} by ${by} at ${at}`,
    ...differences.map((line) => `  ${line}`),
  ];
  const rows = services.map(({ name, mode, image, digest, replicas }) => [
    name,
    replicas === null ? mode : String(replicas),
    image,
    digest,
  ]);
  return `${lines.map(printable).join('\n')}\n\n${tableText(colours, ['SERVICE', 'REPLICAS', 'IMAGE', 'DIGEST'], rows)}`;
}
