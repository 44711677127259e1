/**
 * PURE: which of the tasks that a node made by itself, while it was cut off, become their slot's. A node may say anything: what is
 * adopted goes on from a task of its own that still holds its slot, and takes everything but its counts from that one.
 */
import { mayRestartAlone } from '../../proto/domain/assignment.ts';
import type { LocalReport } from '../../proto/codec/status-report.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { RestartPolicy } from '../../proto/domain/service.ts';
import { isTaskId, slotId } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import { maxRestartsInWindow } from '../../proto/domain/validate.ts';
import type { Snapshot, Stored } from '../plan/snapshot.ts';
import { assignedTask, restartPolicies } from './units.ts';

export interface LocalAttempt {
  readonly taskId: string;
  readonly local: LocalReport;
}

/** Both records are written, or neither; compared: the predecessor, the node, and that the task is new. */
export interface Adoption {
  readonly task: Task;
  /** No longer wanted. */
  readonly predecessor: Task;
  /** Of the predecessor. */
  readonly modRevision: number;
  readonly node: { readonly id: string; readonly modRevision: number };
}

export interface LocalJudgement {
  readonly adoptions: readonly Adoption[];
  /** Ids that the node is to stop and remove. */
  readonly unwanted: readonly string[];
}

/** At the shortest back-off that repeats this is a year; a node that says more counts wrongly, or lies. */
const maxLocalAttempts = 1_000_000;
/** An agent names a handful. */
const maxPredecessors = 32;
export const replacedByItsNode = 'its node replaced it while it was cut off from the controllers';

export function judgeLocalAttempts(
  snapshot: Snapshot,
  nodeId: string,
  attempts: readonly LocalAttempt[],
  nowMs: number,
): LocalJudgement {
  const node = snapshot.nodes.get(nodeId);
  const policies = restartPolicies(snapshot);
  const wanted = wantedBySlot(snapshot);
  const adoptions: Adoption[] = [];
  const unwanted: string[] = [];
  const taken = new Set<string>();
  for (const { taskId, local } of attempts) {
    const known = snapshot.tasks.get(taskId)?.value;
    if (known !== undefined) {
      // It was adopted before, and the node has not heard. What is not assigned to this node will never be told it.
      const assigned = known.nodeId === nodeId && assignedTask(known, snapshot.statuses.get(taskId)) !== undefined;
      if (!assigned) unwanted.push(taskId);
      continue;
    }
    const predecessor = isTaskId(taskId) ? holderAmong(snapshot, nodeId, local.replaces) : undefined;
    const slot = predecessor === undefined ? '' : slotId(predecessor.value);
    const policy = predecessor && policies.get(serviceId(predecessor.value.stack, predecessor.value.service));
    const isFree = !taken.has(slot) && wanted.get(slot) === 1;
    if (node === undefined || predecessor === undefined || !isFree || !mayGoOn(predecessor.value, policy)) {
      unwanted.push(taskId);
      continue;
    }
    taken.add(slot);
    adoptions.push({
      task: adopted(predecessor.value, policy, { taskId, local }, nowMs),
      predecessor: { ...predecessor.value, desired: 'shutdown', desiredReason: replacedByItsNode },
      modRevision: predecessor.modRevision,
      node: { id: nodeId, modRevision: node.modRevision },
    });
  }
  return { adoptions, unwanted };
}

/** The task of this node that has the slot now, if the attempt came after it. */
function holderAmong(snapshot: Snapshot, nodeId: string, replaces: readonly string[]): Stored<Task> | undefined {
  for (const id of replaces.slice(0, maxPredecessors)) {
    const task = snapshot.tasks.get(id);
    if (task?.value.nodeId !== nodeId || task.value.desired !== 'running' || task.value.orphaned === true) continue;
    return task;
  }
  return undefined;
}

/** How many tasks each slot is wanted for: beside the holder a replacement may be on its way up elsewhere. */
function wantedBySlot(snapshot: Snapshot): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { value: task } of snapshot.tasks.values()) {
    if (task.desired !== 'running' || task.orphaned === true) continue;
    const slot = slotId(task);
    counts.set(slot, (counts.get(slot) ?? 0) + 1);
  }
  return counts;
}

function mayGoOn(predecessor: Task, policy: RestartPolicy | undefined): policy is RestartPolicy {
  const assigned = assignedTask(predecessor, undefined, policy);
  return assigned !== undefined && mayRestartAlone(assigned);
}

function adopted(before: Task, { windowMs }: RestartPolicy, { taskId, local }: LocalAttempt, nowMs: number): Task {
  const { stack, service, slot, template, templateHash, nodeId, rollout } = before;
  const within = (value: number, least: number): number => Math.min(Math.max(value, least), least + maxLocalAttempts);
  const restartedAtMs = local.restartedAgoMs
    .map((agoMs) => nowMs - Math.max(0, agoMs))
    .sort((a, b) => a - b)
    .slice(-maxRestartsInWindow);
  return {
    ...{ id: taskId, stack, service, slot, template, templateHash, desired: 'running', byNode: true },
    ...(nodeId === undefined ? {} : { nodeId }),
    ...(rollout === undefined ? {} : { rollout }),
    attempt: within(local.attempt, before.attempt + 1),
    quickFailures: within(local.quickFailures, 0),
    restarts: within(local.restarts, before.restarts),
    restartedAtMs: windowMs === undefined ? [] : restartedAtMs,
    createdAtMs: Math.max(before.createdAtMs, nowMs - Math.max(0, local.createdAgoMs)),
  };
}
