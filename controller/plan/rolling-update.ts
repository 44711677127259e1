/**
 * Updates that are under way, batch by batch: the next one begins when every slot of the one before runs well and has
 * been watched for the policy's time, or has failed within what is borne. Start-first: a slot's new task runs well
 * before the old one goes (`slot-holders`); stop-first, and always with fenced tasks: it is made when the old one has ended (`reconcile-service`).
 */
import type { Resources } from '../../proto/domain/resources.ts';
import type { Rollout, UpdatePolicy } from '../../proto/domain/update.ts';
import { isLive, retire, wakeAt } from './draft.ts';
import type { Declaration, Draft, DraftService } from './draft.ts';
import { isFenced } from './leases.ts';
import { retryBeside, startBeside } from './replace-task.ts';
import { isUnderWay, policyInForce, templateInForce } from './rollout-policy.ts';
import { runsWell, startsFirst, whyLeaves, whyOutdated } from './slot-holders.ts';
import { isCurrent, slotProgress } from './slot-progress.ts';
import type { SlotProgress } from './slot-progress.ts';
import { wantedSlots } from './wanted-slots.ts';

export function updateServices(draft: Draft): void {
  for (const service of draft.moving) {
    const inForce = templateInForce(service);
    const rollout = service.record?.rollout;
    if (inForce !== undefined && isUnderWay(rollout)) advance(draft, service, inForce, rollout);
  }
}

function advance(draft: Draft, service: DraftService, inForce: Declaration, rollout: Rollout): void {
  const policy = policyInForce(inForce.spec, rollout);
  retireIdle(draft, service, inForce);
  const slots = slotProgress(draft, service, inForce, { version: rollout.version, monitorMs: policy.monitorMs });
  for (const slot of slots) {
    if (slot.kind === 'watched') wakeAt(draft, slot.untilMs);
    if (slot.kind === 'overlaps') retryBeside(draft, service, inForce, slot.attempt);
  }
  const failed = new Set(rollout.failedSlots);
  const open = slots.filter((slot) => isOpen(slot) && !failed.has(slot.slot));
  const outdated = slots.flatMap((slot) =>
    slot.kind === 'outdated' && !leavesNode(draft, service, inForce, slot) ? [slot] : [],
  );
  if (open.length === 0 && !slots.some(({ kind }) => kind === 'outdated' || kind === 'overlaps')) {
    setRollout(service, completed(rollout, draft.input.now.wallMs));
    return;
  }
  const candidates = open.length === 0 ? outdated : besidesRoomless(draft, inForce, policy, open, outdated);
  if (candidates.length > 0) nextBatch(draft, service, inForce, rollout, candidates);
}

/** Tasks of another template that do not run serve nobody: they make way at once. */
function retireIdle(draft: Draft, service: DraftService, inForce: Declaration): void {
  for (const slot of wantedSlots(draft, service)) {
    for (const task of service.slots.get(slot) ?? []) {
      if (isCurrent(inForce, task) || task.task.nodeId === undefined || !isLive(task) || runsWell(task)) continue;
      retire(task, whyOutdated(draft, service, inForce, task) ?? '');
    }
  }
}

/** Of the batch that is under way, or not running for another reason: the next batch waits for it. */
function isOpen({ kind }: SlotProgress): boolean {
  return kind !== 'settled' && kind !== 'outdated';
}

/**
 * What may go on though some slots have no room: they had none before. Start-first takes nothing away meanwhile;
 * stop-first goes on where the new task fits into what the old one leaves, so that as many run as now.
 */
function besidesRoomless(
  draft: Draft,
  { spec }: Declaration,
  { order }: UpdatePolicy,
  open: readonly SlotProgress[],
  outdated: readonly Outdated[],
): readonly Outdated[] {
  if (open.some(({ kind }) => kind !== 'waits-for-room')) return [];
  if (order === 'start-first' && !isFenced(spec.template)) return outdated;
  return outdated.filter(({ holder: { task } }) => {
    const node = draft.snapshot.nodes.get(task.nodeId ?? '')?.value;
    return node?.availability === 'active' && isWithin(spec.template.reservations, task.template.reservations);
  });
}

type Outdated = Extract<SlotProgress, { kind: 'outdated' }>;

/** Then its replacement is the drain's to make (`drain-nodes`). */
const leavesNode = (draft: Draft, service: DraftService, inForce: Declaration, { holder }: Outdated): boolean =>
  whyLeaves(draft, service, inForce, holder) !== undefined;

const isWithin = (need: Resources, room: Resources): boolean =>
  need.cpuMillis <= room.cpuMillis && need.memoryBytes <= room.memoryBytes;

function nextBatch(
  draft: Draft,
  service: DraftService,
  inForce: Declaration,
  rollout: Rollout,
  candidates: readonly Outdated[],
): void {
  const { delayMs, parallelism } = policyInForce(inForce.spec, rollout);
  const nowMs = draft.input.now.wallMs;
  const { batchDoneAtMs = nowMs, ...begun } = rollout;
  // A clock that was set back to before the batch was done says nothing about how long that was ago.
  const dueMs = rollout.batches === 0 || nowMs < batchDoneAtMs ? nowMs : batchDoneAtMs + delayMs;
  if (nowMs < dueMs) {
    if (rollout.batchDoneAtMs === undefined) setRollout(service, { ...begun, batchDoneAtMs });
    wakeAt(draft, dueMs);
    return;
  }
  const batch = parallelism === 0 ? candidates : candidates.slice(0, parallelism);
  for (const { tasks, holder } of batch) {
    if (startsFirst(draft, service, inForce, holder)) startBeside(draft, service, inForce, tasks, holder);
    else retire(holder, whyOutdated(draft, service, inForce, holder) ?? '');
  }
  setRollout(service, { ...begun, batches: begun.batches + 1 });
}

/** What was before is needed no more, unless it is what the update has gone back to. */
function setRollout(service: DraftService, rollout: Rollout): void {
  if (service.record === undefined) return;
  const { previous, ...record } = service.record;
  const kept = previous === undefined || rollout.state === 'completed' ? {} : { previous };
  service.record = { ...record, ...kept, rollout };
}

function completed({ batchDoneAtMs: _, ...rollout }: Rollout, nowMs: number): Rollout {
  return { ...rollout, state: rollout.state === 'updating' ? 'completed' : 'rolled-back', endedAtMs: nowMs };
}
