/** Drills that were run: no part of the snapshot, because no decision of the plan may depend on one. */
import { drillRecord } from '../../proto/codec/drills.ts';
import type { Drill } from '../../proto/domain/drill.ts';
import { drillKey, drillPrefix } from './keys.ts';
import type { Operation, Store } from './store.ts';

/** Reports that are kept; older ones go as new ones come. */
const drillsKept = 50;

/** Oldest first. @throws FrotaError as `Store.range`; `corrupt` for one that can't be read. */
export async function readDrills(store: Store): Promise<readonly Drill[]> {
  const { entries } = await store.range(drillPrefix);
  return entries.map(({ value }) => drillRecord.decode(value)).sort((a, b) => a.startedAtMs - b.startedAtMs);
}

/** `known`: those that are stored. */
export function putDrill(drill: Drill, known: readonly Drill[]): readonly Operation[] {
  const others = known.filter(({ id }) => id !== drill.id);
  const surplus = others.slice(0, Math.max(0, others.length + 1 - drillsKept));
  return [
    { kind: 'put', key: drillKey(drill.id), value: drillRecord.encode(drill) },
    ...surplus.map(({ id }): Operation => ({ kind: 'delete', key: drillKey(id) })),
  ];
}
