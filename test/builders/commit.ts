/** A store's commit, in memory: each change by itself, dropped when what it compares against has changed. */
import { serviceId } from '../../proto/domain/service.ts';
import type { Change, Snapshot, Stored } from '../../controller/plan/snapshot.ts';

export interface Committed {
  readonly snapshot: Snapshot;
  readonly conflicts: number;
}

export function commitChanges(snapshot: Snapshot, changes: readonly Change[]): Committed {
  const tasks = new Map(snapshot.tasks);
  const services = new Map(snapshot.services);
  const statuses = new Map(snapshot.statuses);
  const contents = new Map(snapshot.contents);
  const keptPins = new Map(snapshot.keptPins);
  let { revision } = snapshot;
  let conflicts = 0;
  const holds = (map: ReadonlyMap<string, Stored<unknown>>, id: string, modRevision: number): boolean => {
    const same = (map.get(id)?.modRevision ?? 0) === modRevision;
    if (!same) conflicts += 1;
    return same;
  };
  for (const change of changes) {
    const modRevision = (revision += 1);
    switch (change.kind) {
      case 'put-service': {
        const id = serviceId(change.service.stack, change.service.name);
        if (holds(services, id, change.modRevision)) services.set(id, { value: change.service, modRevision });
        break;
      }
      case 'trade-ports': {
        const found = change.services.map((one) => ({ ...one, id: serviceId(one.service.stack, one.service.name) }));
        if (!found.every((one) => holds(services, one.id, one.modRevision))) break;
        for (const { id, service } of found) services.set(id, { value: service, modRevision });
        break;
      }
      case 'delete-service':
        if (!holds(services, change.id, change.modRevision)) break;
        services.delete(change.id);
        if (change.pins.length === 0) keptPins.delete(change.id);
        else keptPins.set(change.id, { value: change.pins, modRevision });
        break;
      case 'delete-pins':
        if (holds(keptPins, change.id, change.modRevision)) keptPins.delete(change.id);
        break;
      case 'put-task':
        if (change.node !== undefined && !holds(snapshot.nodes, change.node.id, change.node.modRevision)) break;
        if (holds(tasks, change.task.id, change.modRevision))
          tasks.set(change.task.id, { value: change.task, modRevision });
        break;
      case 'delete-task':
        if (!holds(tasks, change.id, change.modRevision)) break;
        tasks.delete(change.id);
        statuses.delete(change.id);
        break;
      case 'delete-content':
        if (holds(contents, change.id, change.modRevision)) contents.delete(change.id);
        break;
    }
  }
  return { snapshot: { ...snapshot, revision, tasks, services, keptPins, statuses, contents }, conflicts };
}
