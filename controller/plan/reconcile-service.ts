/**
 * The wanted slots, each with one wanted task at the most, or two while one replaces the other (`slot-holders`); what is
 * beyond them, or no longer declared, is retired. A slot gets a new task here only after the one before it has ended or
 * was given up with its node.
 */
import { addToSlot, isLive, latestOf, retire, tasksOf } from './draft.ts';
import type { Declaration, Draft, DraftService, DraftTask } from './draft.ts';
import type { ServiceSpec } from '../../proto/domain/service.ts';
import { isFenced } from './leases.ts';
import { isReplaced, noPredecessor, succeed, succeedWithNewTemplate } from '../../proto/domain/restart-policy.ts';
import type { Succession } from '../../proto/domain/restart-policy.ts';
import { hasFallenBack, templateInForce } from './rollout-policy.ts';
import { settleHolder, tookItsSlot } from './slot-holders.ts';
import { nodeOfSlot, wantedSlots, whyUnwanted } from './wanted-slots.ts';

export function reconcileServices(draft: Draft): void {
  for (const service of draft.moving) {
    const inForce = templateInForce(service);
    if (inForce === undefined) retireAll(draft, service);
    else reconcileService(draft, service, inForce);
  }
}

function retireAll(draft: Draft, service: DraftService): void {
  const reason = draft.snapshot.stacks.has(service.stack)
    ? `service ${service.name} was removed from stack ${service.stack}`
    : `stack ${service.stack} was removed`;
  for (const task of tasksOf(service)) retire(task, reason);
}

function reconcileService(draft: Draft, service: DraftService, declared: Declaration): void {
  const wanted = wantedSlots(draft, service);
  for (const [slot, tasks] of service.slots) {
    if (wanted.has(slot)) continue;
    for (const task of tasks) retire(task, whyUnwanted(draft, declared.spec, slot));
  }
  for (const slot of wanted) {
    const tasks = service.slots.get(slot) ?? [];
    if (declared.spec.mode === 'global') retireElsewhere(draft, declared.spec, slot, tasks);
    const succession = reconcileSlot(draft, service, declared, tasks);
    if (succession !== undefined) addTask(draft, service, declared, slot, succession);
  }
}

/** A service that was replicated has tasks in slots that stand for other nodes now. */
function retireElsewhere(draft: Draft, { name }: ServiceSpec, slot: number, tasks: readonly DraftTask[]): void {
  const node = nodeOfSlot(draft, slot);
  for (const task of tasks) {
    const { nodeId } = task.task;
    if (nodeId !== undefined && nodeId !== node?.id) retire(task, `service ${name} runs once on each node now`);
  }
}

/** What a new task of the slot takes over; undefined if the slot needs none now. */
function reconcileSlot(
  draft: Draft,
  service: DraftService,
  declared: Declaration,
  tasks: readonly DraftTask[],
): Succession | undefined {
  const holder = settleHolder(draft, service, declared, tasks);
  if (holder !== undefined) {
    if (holder.task.nodeId !== undefined) retireUnwell(draft, declared, holder);
    if (holder.task.nodeId !== undefined || holder.task.templateHash === declared.templateHash) return undefined;
    // A task that waits for a node has done nothing yet; nothing is lost by starting from the new template.
    retire(holder, 'its template has changed');
    return succeedWithNewTemplate(holder.task);
  }
  if (tasks.some(isLive)) return undefined;
  const latest = latestOf(tasks);
  if (latest === undefined) return noPredecessor;
  for (const task of tasks) if (task !== latest) retire(task, tookItsSlot);
  return succession(draft, service, declared, latest);
}

function succession(
  draft: Draft,
  service: DraftService,
  declared: Declaration,
  latest: DraftTask,
): Succession | undefined {
  const { task, status } = latest;
  const { restart } = declared.spec;
  const isCurrent = task.templateHash === declared.templateHash;
  // What was to run once has run; going back to an earlier template is no reason to run that again.
  if (!isCurrent && !(hasFallenBack(service.record?.rollout) && isOver(declared, latest))) {
    retire(latest, 'its template has changed');
    return succeedWithNewTemplate(task);
  }
  // Node loss is no exit, but a task that must never run twice is not run again either.
  if (task.orphaned === true && restart.condition === 'none') return undefined;
  // A task that was told to end says nothing about the policy: its slot is wanted (again), so it is filled.
  if (isOver(declared, latest)) return undefined;
  retire(latest, tookItsSlot);
  return succeed(restart, task, status, draft.input.now.wallMs);
}

/** An unhealthy task is stopped and then replaced, as far as the policy replaces one that failed; else it is left as it is. */
function retireUnwell(draft: Draft, { spec }: Declaration, holder: DraftTask): void {
  const { task, status } = holder;
  if (status?.health !== 'unhealthy') return;
  const ending = { ...task, unhealthyAtMs: draft.input.now.wallMs };
  if (!isReplaced(spec.restart, ending, status)) return;
  holder.task = ending;
  retire(holder, status.reason ?? 'unhealthy: its health check fails');
}

/** It ended by itself, and by its restart policy its slot stays as it is. */
const isOver = ({ spec }: Declaration, latest: DraftTask): boolean =>
  latest.task.desired === 'running' && !isReplaced(spec.restart, latest.task, latest.status);

/** `declared`: with the template in force. */
export function addTask(
  draft: Draft,
  service: DraftService,
  declared: Declaration,
  slot: number,
  from: Succession,
): void {
  const version = service.record?.rollout?.version;
  const task = {
    id: draft.input.newId(),
    stack: service.stack,
    service: service.name,
    slot,
    template: declared.spec.template,
    templateHash: declared.templateHash,
    desired: 'running' as const,
    createdAtMs: draft.input.now.wallMs,
    ...(version === undefined ? {} : { rollout: version }),
    // An earlier task of the slot was planned on an earlier revision: it is in this picture, where this one is not yet.
    ...(isFenced(declared.spec.template) ? { fence: draft.snapshot.revision } : {}),
    ...from,
  };
  addToSlot(service, { status: undefined, task, deleted: false });
}
