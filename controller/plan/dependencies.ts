/**
 * What a service waits for before its very first start (`depends_on`). Once it has been so, the service is released for
 * good: failover, scaling and updates ask no more. Its tasks wait with what is missing as their reason.
 */
import type { Dependency } from '../../proto/domain/stack-parts.ts';
import { serviceId } from '../../proto/domain/service.ts';
import { isEnded, taskStateRank } from '../../proto/domain/task.ts';
import { isLive, latestOf, stateOf } from './draft.ts';
import type { Declaration, Draft, DraftService, DraftTask } from './draft.ts';
import { isReplaced } from '../../proto/domain/restart-policy.ts';
import { wantedSlots } from './wanted-slots.ts';

export function releaseServices(draft: Draft): void {
  for (const service of draft.services.values()) {
    const { record, declared } = service;
    if (record === undefined || declared === undefined || record.released) continue;
    const waits = declared.spec.dependsOn.flatMap((dependency) => whyNotYet(draft, service, dependency) ?? []);
    if (waits.length === 0) service.record = { ...record, released: true };
    else service.waitsFor = `waits for ${waits.join(', and for ')}`;
  }
}

/** What of a dependency is missing: `db to be healthy (0/1)`. */
function whyNotYet(
  draft: Draft,
  { stack }: DraftService,
  { service, condition, required }: Dependency,
): string | undefined {
  const dependency = draft.services.get(serviceId(stack, service));
  if (dependency?.declared === undefined) return required ? `${service}, which is not declared` : undefined;
  const { declared } = dependency;
  const slots = [...wantedSlots(draft, dependency)];
  const met = slots.filter((slot) => isMet(dependency.slots.get(slot) ?? [], condition)).length;
  if (met === slots.length && (slots.length > 0 || declared.spec.mode === 'replicated')) return undefined;
  const failed = slots
    .map((slot) => failedForGood(declared, dependency.slots.get(slot) ?? [], condition))
    .find((failure) => failure !== undefined);
  // What is not required is waited for only as long as something may come of it, as in Compose.
  if (failed !== undefined && !required) return undefined;
  const count = slots.length === 0 ? 'no node is to run it yet' : `${String(met)}/${String(slots.length)}`;
  return `${service} ${conditionWords[condition]} (${count})${failed === undefined ? '' : `: ${failed}`}`;
}

const conditionWords: Readonly<Record<Dependency['condition'], string>> = {
  started: 'to start',
  healthy: 'to be healthy',
  completed: 'to complete',
};

function isMet(tasks: readonly DraftTask[], condition: Dependency['condition']): boolean {
  switch (condition) {
    case 'started':
      return tasks.some(hasStarted);
    case 'healthy':
      return tasks.some((task) => isLive(task) && stateOf(task) === 'running' && task.status?.health === 'healthy');
    case 'completed':
      return tasks.some((task) => stateOf(task) === 'complete');
  }
}

/** Its process was started once, as Compose has it: whether it is healthy, or has ended since, is not asked. */
function hasStarted(task: DraftTask): boolean {
  if (task.status?.startedAtMs !== undefined) return true;
  const state = stateOf(task);
  return !isEnded(state) && taskStateRank(state) >= taskStateRank('starting');
}

/** The slot will not get there by itself: its task ended, or has no health, and nothing follows it. */
function failedForGood(
  { spec }: Declaration,
  tasks: readonly DraftTask[],
  condition: Dependency['condition'],
): string | undefined {
  const latest = latestOf(tasks);
  if (latest === undefined) return undefined;
  const state = stateOf(latest);
  if (condition === 'healthy' && state === 'running' && latest.status?.health === 'none')
    return 'it has no health check';
  if (!isEnded(state) || latest.task.desired !== 'running') return undefined;
  if (isReplaced(spec.restart, latest.task, latest.status)) return undefined;
  const { exitCode } = latest.status ?? {};
  const how = exitCode === undefined ? state : `ended with exit code ${String(exitCode)}`;
  return `it ${exitCode === undefined ? 'was ' : ''}${how} and is not started again`;
}
