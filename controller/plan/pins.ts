/**
 * A named volume is a folder of one node: a slot that has one stays with the node where it first ran, and waits while that
 * node can't have it. A pin stays, as the folder does, while the slot is not wanted, and outlives the service in a record of
 * its own. It goes when the service is declared without a volume, when its node has left the cluster for good, or when all
 * that ever came of it was rejected, so that nothing is on that node yet.
 */
import type { Pin } from '../../proto/domain/service.ts';
import { isWanted, stateOf } from './draft.ts';
import type { Draft, DraftService, DraftTask } from './draft.ts';
import { namedVolumes } from './named-volumes.ts';
import type { Change } from './snapshot.ts';
import { wantedSlots } from './wanted-slots.ts';

/** What is left of the pins before anything is placed. */
export function revisePins(draft: Draft): void {
  for (const service of draft.services.values()) {
    const { record } = service;
    if (record === undefined || (record.pins.length === 0 && !isPinning(service))) continue;
    const wanted = wantedSlots(draft, service);
    const left = record.pins.filter((pin) => holds(draft, service, pin));
    const kept = left.map((pin): Pin => (wanted.has(pin.slot) ? pin : { ...pin, kept: true }));
    setPins(service, [...kept, ...adopted(draft, service, kept)]);
  }
}

/** Of services that are gone, with every node that has something of them: nothing can be found again. */
export function forgottenPins({ snapshot, services }: Draft): readonly Change[] {
  return [...snapshot.keptPins].flatMap(([id, { value, modRevision }]): Change[] => {
    const isFound = services.has(id) || value.some(({ nodeId }) => snapshot.nodes.has(nodeId));
    return isFound ? [] : [{ kind: 'delete-pins', id, modRevision }];
  });
}

/** Of tasks that have just got their nodes. */
export function pinPlaced(service: DraftService, placed: readonly DraftTask[]): void {
  if (!isPinning(service) || service.record === undefined) return;
  const pins = new Map(service.record.pins.map((pin) => [pin.slot, pin]));
  for (const { task } of placed) {
    const { slot, nodeId } = task;
    if (nodeId !== undefined && pins.get(slot)?.nodeId !== nodeId) pins.set(slot, { slot, nodeId });
  }
  setPins(service, [...pins.values()]);
}

/**
 * Nodes that have one of the service's volumes for another service: its tasks go there where they fit, so that what shares
 * a volume in a Compose file shares it here, too.
 */
export function nodesWithVolumes(draft: Draft, service: DraftService): ReadonlySet<string> {
  const volumes = new Set(service.declared && namedVolumes(service.declared.spec.template));
  const nodes = new Set<string>();
  if (volumes.size === 0) return nodes;
  for (const other of draft.services.values()) {
    if (other === service || other.declared === undefined || other.record === undefined) continue;
    if (!namedVolumes(other.declared.spec.template).some((volume) => volumes.has(volume))) continue;
    for (const { nodeId } of other.record.pins) nodes.add(nodeId);
  }
  return nodes;
}

/** A global service's slots are their nodes' anyway. */
function isPinning({ declared }: DraftService): boolean {
  return declared?.spec.mode === 'replicated' && namedVolumes(declared.spec.template).length > 0;
}

function holds(draft: Draft, service: DraftService, { slot, nodeId, kept }: Pin): boolean {
  if (service.declared !== undefined && !isPinning(service)) return false;
  if (!draft.snapshot.nodes.has(nodeId)) return false;
  return kept === true || !hasLeftNothing(service.slots.get(slot) ?? [], nodeId);
}

/** The slot's whole history is known, and on this node no attempt of it has come to start. */
function hasLeftNothing(tasks: readonly DraftTask[], nodeId: string): boolean {
  const there = tasks.filter(({ task, deleted }) => task.nodeId === nodeId && !deleted);
  return (
    tasks.some(({ task, deleted }) => task.attempt === 0 && !deleted) &&
    there.length > 0 &&
    there.every((task) => stateOf(task) === 'rejected' && task.status?.startedAtMs === undefined)
  );
}

/** Tasks that have a node and no pin: the commit of the pin was lost, or the volume came with an earlier version. */
function adopted(draft: Draft, service: DraftService, kept: readonly Pin[]): readonly Pin[] {
  if (!isPinning(service)) return [];
  const pinned = new Set(kept.map(({ slot }) => slot));
  return [...wantedSlots(draft, service)].flatMap((slot) => {
    const { nodeId } = service.slots.get(slot)?.find(isWanted)?.task ?? {};
    return nodeId === undefined || pinned.has(slot) ? [] : [{ slot, nodeId }];
  });
}

function setPins(service: DraftService, pins: readonly Pin[]): void {
  if (service.record === undefined) return;
  const sorted = [...pins].sort((a, b) => a.slot - b.slot);
  const before = service.record.pins;
  const isSame = ({ slot, nodeId, kept }: Pin, index: number): boolean => {
    const old = before[index];
    return old?.slot === slot && old.nodeId === nodeId && old.kept === kept;
  };
  if (sorted.length !== before.length || !sorted.every(isSame)) service.record = { ...service.record, pins: sorted };
}
