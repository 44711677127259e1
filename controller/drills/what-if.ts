/** What the cluster's own plan would do without a node, and which of its tasks it would have no place for. */
import type { NodeRef, TaskRef } from '../../proto/domain/drill.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { Plan, Snapshot } from '../plan/snapshot.ts';

export interface WhatIf {
  readonly snapshot: Snapshot;
  readonly liveness: ReadonlyMap<string, NodeLiveness>;
  readonly planFor: (liveness: ReadonlyMap<string, NodeLiveness>) => Plan;
}

export interface Homeless {
  readonly task: TaskRef;
  readonly reason: string;
}

/** Asking the plan itself is what makes this true: constraints, volumes, restart policies, room, all as they will be judged. */
export function withoutNode(
  { snapshot, liveness, planFor }: WhatIf,
  node: NodeRef,
  expected: readonly TaskRef[],
): readonly Homeless[] {
  const sinceMs = liveness.get(node.id)?.sinceMs ?? 0;
  const planned = planFor(new Map([...liveness, [node.id, { state: 'down', sinceMs }]]));
  const successors = planned.changes.flatMap((change) => (change.kind === 'put-task' ? [change.task] : []));
  return expected.flatMap((task): Homeless[] => {
    // A slot of a global service stands for its node: without the node it is not wanted.
    if (isGlobal(snapshot, task.service)) return [];
    const successor = successors.find(
      (each) =>
        serviceId(each.stack, each.service) === task.service && each.slot === task.slot && each.desired === 'running',
    );
    if (successor?.nodeId !== undefined && successor.nodeId !== node.id) return [];
    const reason = successor === undefined ? undefined : planned.reasons.get(successor.id);
    return [{ task, reason: reason ?? 'by its restart policy it is not replaced' }];
  });
}

function isGlobal(snapshot: Snapshot, service: string): boolean {
  return [...snapshot.stacks.values()].some(({ value: { spec } }) =>
    spec.services.some(({ name, mode }) => serviceId(spec.name, name) === service && mode === 'global'),
  );
}
