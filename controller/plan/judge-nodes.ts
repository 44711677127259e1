/**
 * A lost node's tasks are given up: orphaned, so that their slots are free for replacements in the same pass. On a node
 * that is only suspect or unreachable they stay, and fenced ones until their lease has ended; the scheduler places nothing new there.
 */
import { leaseEndsAfterMs } from '../../proto/domain/fencing.ts';
import type { Task } from '../../proto/domain/task.ts';
import { isLive, tasksOf, wakeAt } from './draft.ts';
import type { Draft } from './draft.ts';
import { leaseLeftMs } from './leases.ts';
import type { Brake } from './snapshot.ts';

/** What a plan brakes with that is told nothing else. */
export const defaultBrake: Brake = { windowMs: 5_000, holdMs: 10_000 };

export function judgeNodes(draft: Draft): void {
  const held = holdMassFailure(draft);
  for (const id of draft.snapshot.nodes.keys()) {
    if (draft.input.liveness.get(id)?.state === 'down' && !held.has(id)) draft.lost.add(id);
  }
  for (const service of draft.moving) {
    for (const task of tasksOf(service)) {
      const { nodeId } = task.task;
      if (nodeId === undefined || !isLive(task)) continue;
      const reason = whyLost(draft, nodeId);
      if (reason === undefined || mayStillRun(draft, task.task)) continue;
      task.task = { ...task.task, orphaned: true, desired: 'shutdown', desiredReason: reason };
    }
  }
}

/** The brake: more than half of the nodes, at least two, lost together are not given up before the hold is over. */
function holdMassFailure(draft: Draft): ReadonlySet<string> {
  const { nodes, facts } = draft.snapshot;
  const { liveness, now, brake = defaultBrake } = draft.input;
  const down = [...nodes.keys()].flatMap((id) => {
    const known = liveness.get(id);
    return known?.state === 'down' && known.sinceMs <= now.wallMs ? [{ id, sinceMs: known.sinceMs }] : [];
  });
  const lastMs = Math.max(...down.map(({ sinceMs }) => sinceMs));
  const together = down.filter(({ sinceMs }) => lastMs - sinceMs <= brake.windowMs);
  const untilMs = lastMs + brake.holdMs;
  if (together.length < 2 || together.length * 2 <= facts.size || now.wallMs >= untilMs) return new Set();
  draft.wakeAtMs = Math.min(draft.wakeAtMs ?? Infinity, untilMs);
  const names = together.map(({ id }) => nodes.get(id)?.value.name ?? id).sort();
  draft.problems.push({
    where: `nodes ${names.join(', ')}`,
    message: `lost together, which is more likely the network than the nodes: the tasks they still have are given up in ${String(Math.ceil((untilMs - now.wallMs) / 1000))} s`,
  });
  return new Set(together.map(({ id }) => id));
}

/** A fenced task whose lease may still hold keeps its slot; the pass after that gives it up. */
function mayStillRun(draft: Draft, task: Task): boolean {
  const { leases, now } = draft.input;
  const leftMs = leases === undefined ? 0 : leaseLeftMs(task, leases, now.monoMs);
  if (leftMs === 0) return false;
  wakeAt(draft, now.wallMs + Math.ceil(leftMs));
  const node = draft.snapshot.nodes.get(task.nodeId ?? '')?.value.name ?? task.nodeId ?? '';
  const waitsMs = leaseEndsAfterMs(task.template.fenceLeaseMs ?? 0);
  const seconds = String(Math.round(waitsMs / 100) / 10);
  draft.reasons.set(
    task.id,
    `waits until ${seconds} s after node ${node} was last answered (or this controller began to lead): its lease may still hold there`,
  );
  return true;
}

function whyLost(draft: Draft, nodeId: string): string | undefined {
  const node = draft.snapshot.nodes.get(nodeId)?.value;
  if (node === undefined) return `node ${nodeId} is no longer part of the cluster`;
  return draft.lost.has(nodeId) ? `node ${node.name} was lost` : undefined;
}
