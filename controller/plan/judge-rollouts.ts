/**
 * Where each service's update is: a new template is taken up, new tasks that fail are counted, and too many pause the
 * update or turn it round. What then happens to tasks is decided by `rolling-update`.
 */
import type { Service, Stack, TaskTemplate } from '../../proto/domain/service.ts';
import { slotName } from '../../proto/domain/task.ts';
import type { Rollout, UpdatePolicy } from '../../proto/domain/update.ts';
import { isWanted, templateHash } from './draft.ts';
import type { Declaration, Draft, DraftService, DraftTask } from './draft.ts';
import { isUnderWay, policyInForce, templateOf } from './rollout-policy.ts';
import { whyFailed } from './task-failure.ts';
import { wantedSlots } from './wanted-slots.ts';

export function judgeRollouts(draft: Draft): void {
  for (const service of draft.moving) {
    const { declared, record } = service;
    const stack = draft.snapshot.stacks.get(service.stack)?.value;
    if (record === undefined) continue;
    if (declared === undefined || stack === undefined) {
      service.record = withoutRollout(record);
      continue;
    }
    const taken = takeUp(draft, service, declared, record, stack);
    service.record = countFailures(draft, service, declared, taken);
    service.inForce = inForce(draft, declared, service.record);
  }
}

/** A service that is declared again later has nothing to do with how its last update ended. */
function withoutRollout(record: Service): Service {
  if (record.rollout === undefined && record.previous === undefined) return record;
  const { rollout: _rollout, previous: _previous, ...kept } = record;
  return kept;
}

function inForce(draft: Draft, declared: Declaration, record: Service): Declaration {
  const template = templateOf(declared.spec, record);
  if (template === declared.spec.template) return declared;
  return { spec: { ...declared.spec, template }, templateHash: templateHash(template, draft.input.hash) };
}

/** Begins an update where one is due; one that is under way gives way to it. */
function takeUp(draft: Draft, service: DraftService, declared: Declaration, record: Service, stack: Stack): Service {
  const outdated = outdatedTasks(draft, service, declared);
  if (!isDue(record.rollout, declared, stack, outdated)) return record;
  // What an update that has not completed began from has run; its own template may not.
  const previous = record.previous ?? mostCommonTemplate(outdated);
  const rollout: Rollout = {
    version: stack.version,
    state: 'updating',
    templateHash: declared.templateHash,
    startedAtMs: draft.input.now.wallMs,
    batches: 0,
    failedSlots: [],
  };
  return { ...record, rollout, ...(previous === undefined ? {} : { previous }) };
}

function isDue(
  rollout: Rollout | undefined,
  declared: Declaration,
  stack: Stack,
  outdated: readonly DraftTask[],
): boolean {
  if (rollout === undefined || rollout.state === 'completed') return outdated.length > 0;
  // Of another stack that had this name.
  if (stack.version < rollout.version) return true;
  if (rollout.templateHash !== declared.templateHash) return true;
  return rollout.state !== 'updating' && stack.declaredVersion > rollout.version;
}

/** Tasks on nodes that an update would replace. Those that wait for a node, or have ended, are replaced anyway. */
function outdatedTasks(draft: Draft, service: DraftService, declared: Declaration): readonly DraftTask[] {
  return [...wantedSlots(draft, service)].flatMap((slot) =>
    (service.slots.get(slot) ?? []).filter(
      (task) => isWanted(task) && task.task.nodeId !== undefined && task.task.templateHash !== declared.templateHash,
    ),
  );
}

function mostCommonTemplate(tasks: readonly DraftTask[]): TaskTemplate | undefined {
  const counts = new Map<string, { count: number; readonly template: TaskTemplate }>();
  for (const { task } of tasks) {
    const entry = counts.get(task.templateHash) ?? { count: 0, template: task.template };
    entry.count += 1;
    counts.set(task.templateHash, entry);
  }
  return [...counts.values()].reduce<{ count: number; readonly template: TaskTemplate } | undefined>(
    (most, entry) => (most === undefined || entry.count > most.count ? entry : most),
    undefined,
  )?.template;
}

function countFailures(draft: Draft, service: DraftService, declared: Declaration, record: Service): Service {
  const { rollout } = record;
  if (!isUnderWay(rollout)) return record;
  const policy = policyInForce(declared.spec, rollout);
  const { templateHash: goal } = inForce(draft, declared, record);
  const wanted = wantedSlots(draft, service);
  const failed = new Set(rollout.failedSlots.filter((slot) => wanted.has(slot)));
  let latest: string | undefined;
  for (const slot of wanted) {
    if (failed.has(slot)) continue;
    const why = whySlotFailed(draft, service, slot, (task) => isOf(rollout, goal, task), policy, declared);
    if (why === undefined) continue;
    failed.add(slot);
    latest = `${slotName(service.name, slot)}${why}`;
  }
  if (latest === undefined) return record;
  const failedSlots = [...failed].sort((a, b) => a - b);
  const counted: Rollout = { ...rollout, failedSlots, reason: latest };
  const borne = policy.failureAction === 'continue' || failed.size / wanted.size <= policy.maxFailureRatio;
  if (borne) return { ...record, rollout: counted };
  const reason = `${shareText(failed.size, wanted.size, policy)}: ${latest}`;
  const rollback = rollout.state === 'updating' && canRollBack(draft, declared, record);
  return { ...record, rollout: afterTooMany({ ...counted, reason }, policy, rollback, draft.input.now.wallMs) };
}

/** Made by this update, and of the template it is now about: of a rollback, too, if it is one. */
const isOf = ({ version }: Rollout, goal: string, { task }: DraftTask): boolean =>
  task.rollout === version && task.templateHash === goal;

function whySlotFailed(
  draft: Draft,
  service: DraftService,
  slot: number,
  isNew: (task: DraftTask) => boolean,
  { monitorMs }: UpdatePolicy,
  { spec }: Declaration,
): string | undefined {
  for (const task of service.slots.get(slot) ?? []) {
    if (!isNew(task)) continue;
    const why = whyFailed(task, spec.restart, monitorMs, draft.input.now.wallMs);
    if (why === undefined) continue;
    const node = draft.snapshot.nodes.get(task.task.nodeId ?? '')?.value;
    return `${node === undefined ? '' : ` on ${node.name}`}: ${why}`;
  }
  return undefined;
}

/** There is something to go back to, and it is something else. */
const canRollBack = (draft: Draft, { templateHash: goal }: Declaration, { previous }: Service): boolean =>
  previous !== undefined && templateHash(previous, draft.input.hash) !== goal;

function afterTooMany(rollout: Rollout, { failureAction }: UpdatePolicy, rollback: boolean, nowMs: number): Rollout {
  if (rollout.state === 'rolling-back') return ended(rollout, 'rollback-paused', nowMs);
  if (failureAction === 'pause' || !rollback) return ended(rollout, 'paused', nowMs);
  const { version, templateHash: declaredHash, startedAtMs, reason = '' } = rollout;
  const state = 'rolling-back';
  return { version, state, templateHash: declaredHash, startedAtMs, batches: 0, failedSlots: [], reason };
}

const ended = (rollout: Rollout, state: 'paused' | 'rollback-paused', nowMs: number): Rollout => ({
  ...rollout,
  state,
  endedAtMs: nowMs,
});

function shareText(failed: number, wanted: number, { maxFailureRatio }: UpdatePolicy): string {
  // A share such as 0.29 of 100 must not become 28 for the way fractions are kept.
  const borne = Math.floor(maxFailureRatio * wanted + 1e-9);
  return `${String(failed)} of ${String(wanted)} slots failed, ${borne === 0 ? 'none' : `at most ${String(borne)}`} may`;
}
