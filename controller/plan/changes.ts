/** What a draft differs in from its snapshot, in the order in which it is safe to lose the rest. */
import { portKey } from '../network/published-ports.ts';
import { tasksOf } from './draft.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { Service } from '../../proto/domain/service.ts';
import type { Draft, DraftService, DraftTask } from './draft.ts';
import type { Change } from './snapshot.ts';

type TaskChange = Extract<Change, { kind: 'put-task' | 'delete-task' }>;

/** All that trade ports in one pass fit into one transaction of any store; more do it one by one. */
const maxTraders = 100;

/**
 * Services before their tasks, those that give up a port first, as another may take it; a slot's old task before its new
 * one; a service's record last, unless it has ports. A crash in between leaves a slot empty for one pass, never wanted twice.
 */
export function changesOf(draft: Draft): readonly Change[] {
  const releasing: { readonly service: Service; readonly modRevision: number }[] = [];
  const services: Change[] = [];
  const before: Change[] = [];
  const deletions: Change[] = [];
  const created: Change[] = [];
  const freed: Change[] = [];
  const dropped: Change[] = [];
  for (const service of draft.services.values()) {
    const change = serviceChange(service);
    if (change?.kind === 'delete-service') (hasPorts(service) ? freed : dropped).push(change);
    else if (change?.kind === 'put-service') {
      if (releasesPorts(service)) releasing.push(change);
      else services.push(change);
    }
    if (service.isAtRest) continue;
    for (const task of tasksOf(service)) {
      const taskChange = changeOfTask(draft, task);
      if (taskChange === undefined) continue;
      if (taskChange.kind === 'delete-task') deletions.push(taskChange);
      else (taskChange.modRevision === 0 ? created : before).push(taskChange);
    }
  }
  return [...freed, ...portChanges(draft, releasing), ...services, ...before, ...deletions, ...created, ...dropped];
}

function serviceChange({ id, stored, record, leaves = [] }: DraftService): Change | undefined {
  if (record === stored?.value) return undefined;
  if (record !== undefined) return { kind: 'put-service', service: record, modRevision: stored?.modRevision ?? 0 };
  return { kind: 'delete-service', id, modRevision: stored?.modRevision ?? 0, pins: leaves };
}

/** One that gives up a port and takes one that another gives up can come neither before nor after that one. */
function portChanges(
  { snapshot }: Draft,
  releasing: readonly { readonly service: Service; readonly modRevision: number }[],
): readonly Change[] {
  if (releasing.length === 0) return [];
  const owners = new Map(
    [...snapshot.services].flatMap(([id, { value }]) =>
      value.ports.map(({ published, protocol }) => [portKey(published, protocol), id] as const),
    ),
  );
  const takes = ({ stack, name, ports }: Service): boolean =>
    ports.some(({ published, protocol }) => {
      const owner = owners.get(portKey(published, protocol));
      return owner !== undefined && owner !== serviceId(stack, name);
    });
  const trade = releasing.length <= maxTraders && releasing.some(({ service }) => takes(service));
  if (trade) return [{ kind: 'trade-ports', services: releasing }];
  return releasing.map((change) => ({ ...change, kind: 'put-service' }));
}

const hasPorts = ({ stored }: DraftService): boolean => stored !== undefined && stored.value.ports.length > 0;

function releasesPorts({ stored, record }: DraftService): boolean {
  const kept = new Set(record?.ports.map(({ published, protocol }) => portKey(published, protocol)));
  return stored?.value.ports.some(({ published, protocol }) => !kept.has(portKey(published, protocol))) ?? false;
}

function changeOfTask(draft: Draft, { stored, task, deleted }: DraftTask): TaskChange | undefined {
  if (deleted) return stored && { kind: 'delete-task', id: task.id, modRevision: stored.modRevision };
  if (task === stored?.value) return undefined;
  const change = { kind: 'put-task', task, modRevision: stored?.modRevision ?? 0 } as const;
  if (task.nodeId === undefined || task.nodeId === stored?.value.nodeId) return change;
  const node = draft.snapshot.nodes.get(task.nodeId);
  return node === undefined ? change : { ...change, node: { id: task.nodeId, modRevision: node.modRevision } };
}
