/**
 * Who holds a slot. One task, but for the time in which a replacement comes up before the old task goes (start-first
 * updates, drained nodes): then both are wanted until the new one runs well.
 */
import { constraintText } from '../../proto/domain/placement.ts';
import type { Task } from '../../proto/domain/task.ts';
import { checkOf } from '../schedule/attributes.ts';
import { taskStateRank } from '../../proto/domain/task.ts';
import { isLive, isWanted, retire, stateOf } from './draft.ts';
import type { Declaration, Draft, DraftService, DraftTask } from './draft.ts';
import { isFenced } from './leases.ts';
import { policyInForce } from './rollout-policy.ts';

export const tookItsSlot = 'another task took its slot';

/** Why the task can't stay as it is; undefined if it can. */
export function whyOutdated(
  draft: Draft,
  service: DraftService,
  inForce: Declaration,
  holder: DraftTask,
): string | undefined {
  if (holder.task.templateHash !== inForce.templateHash) return `service ${service.name} was updated`;
  return whyLeaves(draft, service, inForce, holder);
}

/**
 * Why it can't stay on its node: that is drained, or no longer what the service's constraints ask for (Swarm's constraint
 * enforcer, which leaves paused nodes alone). What holds a volume there stays nevertheless: it could only wait elsewhere.
 */
export function whyLeaves(
  draft: Draft,
  service: DraftService,
  { spec }: Declaration,
  { task }: DraftTask,
): string | undefined {
  const node = draft.snapshot.nodes.get(task.nodeId ?? '')?.value;
  if (node === undefined) return undefined;
  if (node.availability === 'drain') return `node ${node.name} is drained`;
  if (node.availability === 'pause' || isPinned(service, task)) return undefined;
  service.unmet ??= checkOf(spec.placement.constraints);
  const unmet = service.unmet(node, draft.snapshot.facts.get(node.id));
  return unmet && `node ${node.name} doesn't match "${constraintText(unmet)}"`;
}

/** To a volume on its node. */
export const isPinned = ({ record }: DraftService, { slot, nodeId }: Task): boolean =>
  record?.pins.some((pin) => pin.slot === slot && pin.nodeId === nodeId) === true;

/** As far as its agent has told. */
export const runsWell = (task: DraftTask): boolean => {
  const health = task.status?.health;
  return stateOf(task) === 'running' && (health === 'none' || health === 'healthy');
};

/** It is wanted, runs well, and its node is heard: it can be relied on, and told to stop. */
export function serves(draft: Draft, task: DraftTask): boolean {
  return isWanted(task) && runsWell(task) && draft.input.liveness.get(task.task.nodeId ?? '')?.state === 'ready';
}

/**
 * The slot's wanted task; every other one is retired, but for the one it is to replace while it does not serve yet.
 * Lost commits can leave more (the retirement of the first was dropped): the best is kept. Ended tasks give the slot up.
 */
export function settleHolder(
  draft: Draft,
  service: DraftService,
  inForce: Declaration,
  tasks: readonly DraftTask[],
): DraftTask | undefined {
  const fits = (task: DraftTask): boolean => whyOutdated(draft, service, inForce, task) === undefined;
  const best = (among: readonly DraftTask[]): DraftTask | undefined =>
    among.reduce<DraftTask | undefined>(
      (found, task) => (found === undefined || isBetter(fits, task, found) ? task : found),
      undefined,
    );
  const wanted = tasks.filter(isWanted);
  const holder = best(wanted);
  if (holder === undefined) return undefined;
  const staysUntilThen = (task: DraftTask): boolean =>
    !fits(task) && runsWell(task) && startsFirst(draft, service, inForce, task);
  const replaced = fits(holder) && !serves(draft, holder) ? best(wanted.filter(staysUntilThen)) : undefined;
  for (const task of tasks) {
    if (task === holder || task === replaced) continue;
    retire(task, (isLive(task) ? whyOutdated(draft, service, inForce, task) : undefined) ?? tookItsSlot);
  }
  return holder;
}

/** Whether the task's replacement comes up before it goes: that of one that leaves its node always does, that of a fenced one never. */
export function startsFirst(draft: Draft, service: DraftService, inForce: Declaration, task: DraftTask): boolean {
  if (isFenced(task.task.template) || isFenced(inForce.spec.template)) return false;
  if (whyLeaves(draft, service, inForce, task) !== undefined) return true;
  return policyInForce(inForce.spec, service.record?.rollout).order === 'start-first';
}

function isBetter(fits: (task: DraftTask) => boolean, task: DraftTask, than: DraftTask): boolean {
  if (fits(task) !== fits(than)) return fits(task);
  return taskStateRank(stateOf(task)) > taskStateRank(stateOf(than));
}
