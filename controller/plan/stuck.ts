/** Why a stack can't become what was declared, unless somebody does something: what ends `apply --wait` before its time. */
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { RestartPolicy, ServiceSpec } from '../../proto/domain/service.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import type { Rollout, RolloutState } from '../../proto/domain/update.ts';
import type { Stuck } from '../../proto/domain/views.ts';
import { attemptsBySlot, comparisonWith, nodeNameOf } from './attempts.ts';
import { isSettled } from './converged.ts';
import { isReplaced } from '../../proto/domain/restart-policy.ts';
import { isStuck, isUnderWay, templateOf } from './rollout-policy.ts';
import type { Snapshot } from './snapshot.ts';
import { endText } from './task-failure.ts';
import { wantedSlotsOf } from './wanted-slots.ts';

/** So many in a row could not even be started: one may be a registry that was away, or a node that lacks something. */
const hopelessRejections = 3;

interface Found extends Stuck {
  /** Since when, wall time; absent: it is about the update that the latest declaration began. */
  readonly sinceMs?: number;
  /** The next attempt is on its way, for what it is worth. */
  readonly isRetried?: true;
}

/**
 * Sorted by service and slot; empty while there is hope. What was so before the stack was last declared says nothing about that declaration: it is told
 * once nothing else of the stack is on its way. `settling`: services whose new tasks have not run for long enough to rely on them.
 */
export function stuckOf(
  snapshot: Snapshot,
  liveness: ReadonlyMap<string, NodeLiveness>,
  stack: string,
  settling: readonly string[] = [],
): readonly Stuck[] {
  const declared = snapshot.stacks.get(stack)?.value;
  if (declared === undefined) return [];
  const tasks = attemptsBySlot(snapshot, stack);
  const services = declared.spec.services.map((spec) => look(snapshot, liveness, stack, spec, tasks.get(spec.name)));
  const found = services.flatMap((service) => service.found);
  const isNews = ({ sinceMs = Infinity }: Found): boolean => sinceMs >= declared.appliedAtMs;
  const atEase = settling.length === 0 && services.every((service) => service.atEase);
  return atEase || found.some(isNews) ? found.map(({ sinceMs: _sinceMs, isRetried: _isRetried, ...told }) => told) : [];
}

/** `atEase`: nothing of the service is on its way to anything else. */
function look(
  snapshot: Snapshot,
  liveness: ReadonlyMap<string, NodeLiveness>,
  stack: string,
  spec: ServiceSpec,
  slots: ReadonlyMap<number, readonly Task[]> = new Map<number, readonly Task[]>(),
): { readonly found: readonly Found[]; readonly atEase: boolean } {
  const record = snapshot.services.get(serviceId(stack, spec.name))?.value;
  const rollout = record?.rollout;
  const isHeld = (slot: number): boolean => slots.get(slot)?.some((task) => task.desired === 'running') === true;
  const isInForce = comparisonWith(templateOf(spec, record));
  const wanted = [...wantedSlotsOf(snapshot, liveness, spec, isHeld)];
  const found = wanted.flatMap((slot) => stuckSlot(snapshot, spec, (slots.get(slot) ?? []).filter(isInForce)));
  const update: readonly Found[] =
    rollout !== undefined && isStuck(rollout)
      ? [{ service: spec.name, slot: null, node: null, reason: rolloutText(rollout) }]
      : [];
  const isCalm = (task: Task): boolean => {
    const status = snapshot.statuses.get(task.id);
    const runsWell = task.desired === 'running' && isInForce(task) && isSettled(spec.restart, task, status);
    return runsWell || isEnded(taskState(task, status));
  };
  const isOver =
    (slot: number) =>
    (one: Found): boolean =>
      one.slot === slot && one.isRetried !== true;
  // A service that was never released waits for others: they say whether that has an end.
  const atEase =
    !isUnderWay(rollout) &&
    (record?.released === false ||
      wanted.every((slot) => found.some(isOver(slot)) || slots.get(slot)?.every(isCalm) === true));
  return { found: [...update, ...found], atEase };
}

/** Attempts come oldest first. */
function stuckSlot(snapshot: Snapshot, { name, restart }: ServiceSpec, attempts: readonly Task[]): readonly Found[] {
  const kept = attempts.at(-1);
  if (kept !== undefined && staysUnwell(snapshot, restart, kept)) {
    const { reason: said = 'unhealthy', sinceMs } = snapshot.statuses.get(kept.id) ?? {};
    const reason = `${said}; its restart policy leaves it as it is`;
    const told = { service: name, slot: kept.slot, node: nodeNameOf(snapshot, kept), reason };
    return [sinceMs === undefined ? told : { ...told, sinceMs }];
  }
  const stateOf = (task: Task) => taskState(task, snapshot.statuses.get(task.id));
  const ended = attempts.filter((task) => isEnded(stateOf(task)));
  const latest = ended.at(-1);
  if (latest === undefined) return [];
  const status = snapshot.statuses.get(latest.id);
  const sinceMs = status?.finishedAtMs ?? status?.sinceMs;
  const told = {
    service: name,
    slot: latest.slot,
    node: nodeNameOf(snapshot, latest),
    ...(sinceMs === undefined ? {} : { sinceMs }),
  };
  if (attempts.at(-1) === latest) {
    const state = stateOf(latest);
    if (state === 'orphaned' && restart.condition === 'none') {
      return [{ ...told, reason: `${latest.desiredReason ?? 'its node was lost'}, and it is not to run again` }];
    }
    const forGood = latest.desired === 'running' && state !== 'complete' && !isReplaced(restart, latest, status);
    if (forGood && status !== undefined) return [{ ...told, reason: `${state}: ${endText(status)}` }];
  }
  const rejected = ended.slice(-hopelessRejections).filter((task) => stateOf(task) === 'rejected');
  if (rejected.length < hopelessRejections || status === undefined) return [];
  const reason = `rejected ${String(hopelessRejections)} times in a row: ${endText(status)}`;
  return [{ ...told, reason, isRetried: true }];
}

/** It runs, its health check has used up its retries, and nothing replaces it. */
function staysUnwell(snapshot: Snapshot, restart: RestartPolicy, task: Task): boolean {
  const status = snapshot.statuses.get(task.id);
  if (task.desired !== 'running' || status?.health !== 'unhealthy' || isEnded(taskState(task, status))) return false;
  return !isReplaced(restart, { ...task, unhealthyAtMs: status.sinceMs }, status);
}

const failedUpdates: Partial<Record<RolloutState, string>> = {
  paused: 'update paused',
  'rolled-back': 'update rolled back',
  'rollback-paused': 'rollback paused',
};

function rolloutText({ state, reason }: Rollout): string {
  const text = failedUpdates[state] ?? state;
  return reason === undefined ? text : `${text}: ${reason}`;
}
