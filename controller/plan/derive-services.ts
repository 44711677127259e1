/** Service records: what must stay the same for a service's life, its VIP and its published ports. */
import { assignPorts } from '../network/published-ports.ts';
import { openVipPool } from '../network/vips.ts';
import type { Service } from '../../proto/domain/service.ts';
import { canonicalJson } from './canonical-json.ts';
import { tasksOf } from './draft.ts';
import type { Draft, DraftService } from './draft.ts';

export function deriveServices(draft: Draft): void {
  const services = [...draft.services.values()];
  const { ports, problems } = assignPorts(
    services.map(({ id, declared, record }) => ({ id, wanted: declared?.spec.ports ?? [], held: record?.ports ?? [] })),
    draft.input.hash,
  );
  draft.problems.push(...problems);
  const taken = services.flatMap(({ record }) => (record === undefined ? [] : [record.vip]));
  const pool = openVipPool(draft.snapshot.vipPool, taken, draft.input.hash);
  for (const service of services) {
    const vip = service.record?.vip ?? (service.declared === undefined ? undefined : pool.take(service.id));
    if (vip === undefined) {
      const message = `the VIP pool ${draft.snapshot.vipPool} is full; remove a service or start with a larger pool`;
      if (service.declared !== undefined) draft.problems.push({ where: service.id, message });
      continue;
    }
    const record: Service = {
      released: false,
      pins: draft.snapshot.keptPins.get(service.id)?.value ?? [],
      ...service.record,
      stack: service.stack,
      name: service.name,
      vip,
      ports: ports.get(service.id) ?? [],
    };
    if (service.record === undefined || !isSame(record, service.record)) service.record = record;
  }
}

/** All else in the new one comes from the old one. */
const isSame = (a: Service, b: Service): boolean =>
  a.stack === b.stack &&
  a.name === b.name &&
  a.vip === b.vip &&
  (a.ports.length === 0 ? b.ports.length === 0 : canonicalJson(a.ports) === canonicalJson(b.ports));

/** The record outlives the declaration until the last task is gone, so that its VIP is not given away while it is in use. */
export function dropServices(draft: Draft): void {
  for (const service of draft.services.values()) {
    if (service.declared !== undefined || hasTasks(service)) continue;
    service.leaves = service.record?.pins ?? [];
    service.record = undefined;
  }
}

function hasTasks(service: DraftService): boolean {
  for (const task of tasksOf(service)) if (!task.deleted) return true;
  return false;
}
