/** Why a stack can't become what was declared, unless somebody does something: what ends `apply --wait` before its time. */
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { RestartPolicy, ServiceSpec } from '../../proto/domain/service.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import type { Rollout, RolloutState } from '../../proto/domain/update.ts';
import type { Stuck } from '../../proto/domain/views.ts';
import { attemptsBySlot, comparisonWith, nodeNameOf } from './attempts.ts';
import { isReplaced } from '../../proto/domain/restart-policy.ts';
import { isStuck, templateOf } from './rollout-policy.ts';
import type { Snapshot } from './snapshot.ts';
import { endText } from './task-failure.ts';
import { wantedSlotsOf } from './wanted-slots.ts';

/** So many in a row could not even be started: one may be a registry that was away, or a node that lacks something. */
const hopelessRejections = 3;

/** Sorted by service and slot; empty while there is hope. */
export function stuckOf(
  snapshot: Snapshot,
  liveness: ReadonlyMap<string, NodeLiveness>,
  stack: string,
): readonly Stuck[] {
  const tasks = attemptsBySlot(snapshot, stack);
  const services = snapshot.stacks.get(stack)?.value.spec.services ?? [];
  return services.flatMap((spec): readonly Stuck[] => {
    const record = snapshot.services.get(serviceId(stack, spec.name))?.value;
    const rollout = record?.rollout;
    const slots = tasks.get(spec.name) ?? new Map<number, readonly Task[]>();
    const isHeld = (slot: number): boolean => slots.get(slot)?.some((task) => task.desired === 'running') === true;
    const isInForce = comparisonWith(templateOf(spec, record));
    const stuckSlots = [...wantedSlotsOf(snapshot, liveness, spec, isHeld)].flatMap((slot) =>
      stuckSlot(snapshot, spec, (slots.get(slot) ?? []).filter(isInForce)),
    );
    return rollout !== undefined && isStuck(rollout)
      ? [{ service: spec.name, slot: null, node: null, reason: rolloutText(rollout) }, ...stuckSlots]
      : stuckSlots;
  });
}

/** Attempts come oldest first. */
function stuckSlot(snapshot: Snapshot, { name, restart }: ServiceSpec, attempts: readonly Task[]): readonly Stuck[] {
  const kept = attempts.at(-1);
  if (kept !== undefined && staysUnwell(snapshot, restart, kept)) {
    const said = snapshot.statuses.get(kept.id)?.reason ?? 'unhealthy';
    const reason = `${said}; its restart policy leaves it as it is`;
    return [{ service: name, slot: kept.slot, node: nodeNameOf(snapshot, kept), reason }];
  }
  const stateOf = (task: Task) => taskState(task, snapshot.statuses.get(task.id));
  const ended = attempts.filter((task) => isEnded(stateOf(task)));
  const latest = ended.at(-1);
  if (latest === undefined) return [];
  const status = snapshot.statuses.get(latest.id);
  const told = { service: name, slot: latest.slot, node: nodeNameOf(snapshot, latest) };
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
  return [{ ...told, reason: `rejected ${String(hopelessRejections)} times in a row: ${endText(status)}` }];
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
