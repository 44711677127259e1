/** What the tests of the plan's stages share: `shop/web` on three nodes, and what a plan made of it. */
import { expect } from 'vitest';
import { plan } from '../../../controller/plan/plan.ts';
import type { Change, Plan, PlanInput, Snapshot } from '../../../controller/plan/snapshot.ts';
import type { NodeState } from '../../../proto/domain/node.ts';
import type { Task, TaskState } from '../../../proto/domain/task.ts';
import {
  aLiveness,
  aNode,
  aPlanInput,
  aService,
  aServiceSpec,
  aSnapshot,
  aStack,
  aStatus,
  aTask,
  aTemplate,
} from '../../builders/domain.ts';
import type { SnapshotParts } from '../../builders/domain.ts';
import { commitChanges } from '../../builders/commit.ts';

export const threeNodes = [aNode('n1'), aNode('n2'), aNode('n3')];
export const newer = aTemplate({ image: { reference: 'registry.test/web:2', digest: `sha256:${'b'.repeat(64)}` } });

/** `shop/web` with its record and tasks in slots 1… on n1… in `state`. */
export function running(replicas: number, parts: SnapshotParts = {}, state: TaskState = 'running'): Snapshot {
  const slots = Array.from({ length: replicas }, (_, index) => index + 1);
  return aSnapshot({
    stacks: [aStack('shop', [aServiceSpec({ replicas })])],
    services: [aService()],
    nodes: threeNodes,
    tasks: slots.map((slot) => aTask({ id: `t${String(slot)}`, slot, nodeId: `id-n${String(slot)}` })),
    statuses: slots.map((slot) => aStatus(`t${String(slot)}`, state)),
    ...parts,
  });
}

export const putTasks = (changes: readonly Change[]): Task[] =>
  changes.flatMap((change) => (change.kind === 'put-task' ? [change.task] : []));
export const created = (result: Plan): Task[] => putTasks(result.changes).filter((task) => task.id.startsWith('new-'));
export const changedTask = (result: Plan, id: string): Task | undefined =>
  putTasks(result.changes).find((task) => task.id === id);

export function withStates(
  snapshot: Snapshot,
  states: Record<string, NodeState>,
  over: Parameters<typeof aPlanInput>[1] = {},
): PlanInput {
  return aPlanInput(snapshot, { liveness: aLiveness(snapshot, states), ...over });
}

/** Applies the plan and returns the next snapshot, after checking that a second pass would change nothing. */
export function settle(snapshot: Snapshot, input: PlanInput): Snapshot {
  const { snapshot: next, conflicts } = commitChanges(snapshot, plan(snapshot, input).changes);
  expect(conflicts).toBe(0);
  expect(plan(next, input).changes).toEqual([]);
  return next;
}
