/**
 * Which slots a service wants now: 1 to `replicas`, or, global, one for each node that is to have it. Everybody who walks
 * over a service's slots asks here, so that both modes are one to them.
 */
import { subnetOrdinal } from '../network/subnets.ts';
import { constraintText } from '../../proto/domain/placement.ts';
import type { Node, NodeLiveness } from '../../proto/domain/node.ts';
import type { ServiceSpec } from '../../proto/domain/service.ts';
import { unmetConstraint } from '../schedule/attributes.ts';
import type { Draft, DraftService } from './draft.ts';
import type { Snapshot } from './snapshot.ts';

/** Ascending. */
export type WantedSlots = ReadonlySet<number>;

const none: WantedSlots = new Set();

/** The same for a whole pass: nodes are judged before anybody asks. */
export function wantedSlots(draft: Draft, service: DraftService): WantedSlots {
  const spec = service.declared?.spec;
  if (spec === undefined) return none;
  service.wanted ??=
    spec.mode === 'replicated'
      ? slotsUpTo(spec.replicas)
      : slotsOfNodes(draft.snapshot, spec, (node) => draft.lost.has(node.id), holds(service));
  return service.wanted;
}

/** As above, for who looks at a snapshot. `held`: slots of the service that have a task which is wanted. */
export function wantedSlotsOf(
  snapshot: Snapshot,
  liveness: ReadonlyMap<string, NodeLiveness>,
  spec: ServiceSpec,
  held: (slot: number) => boolean,
): WantedSlots {
  if (spec.mode === 'replicated') return slotsUpTo(spec.replicas);
  return slotsOfNodes(snapshot, spec, (node) => liveness.get(node.id)?.state === 'down', held);
}

/** The node that a slot of a global service stands for; undefined where it has left the cluster. */
export function nodeOfSlot(draft: Draft, slot: number): Node | undefined {
  draft.nodesBySlot ??= new Map(
    [...draft.snapshot.nodes.values()].map(({ value }) => [slotOfNode(draft.snapshot, value), value]),
  );
  return draft.nodesBySlot.get(slot);
}

/** Why a slot that has tasks is not wanted any more, for people. */
export function whyUnwanted(draft: Draft, { name, placement, mode, replicas }: ServiceSpec, slot: number): string {
  if (mode === 'replicated') return `service ${name} was scaled to ${String(replicas)}`;
  const node = nodeOfSlot(draft, slot);
  if (node === undefined) return `service ${name} runs once on each node now`;
  if (draft.lost.has(node.id)) return `node ${node.name} was lost`;
  if (node.availability === 'drain') return `node ${node.name} is drained`;
  const unmet = unmetConstraint(placement.constraints, node, draft.snapshot.facts.get(node.id));
  return unmet === undefined
    ? `node ${node.name} takes no new tasks`
    : `node ${node.name} doesn't match "${constraintText(unmet)}"`;
}

/** 1 for the first subnet of the pool: small, unique among nodes, and the same for a node's whole life. */
const slotOfNode = ({ containerPool }: Snapshot, { subnet }: Node): number => subnetOrdinal(containerPool, subnet) + 1;

const slotsUpTo = (replicas: number): WantedSlots => new Set(Array.from({ length: replicas }, (_, index) => index + 1));

const holds =
  ({ slots }: DraftService) =>
  (slot: number): boolean =>
    slots.get(slot)?.some(({ deleted, task }) => !deleted && task.desired === 'running') === true;

/** A node counts once it has said what it is; a paused one keeps what it has and gets nothing new, as in Swarm. */
function slotsOfNodes(
  snapshot: Snapshot,
  { placement }: ServiceSpec,
  isLost: (node: Node) => boolean,
  held: (slot: number) => boolean,
): WantedSlots {
  const slots: number[] = [];
  for (const { value: node } of snapshot.nodes.values()) {
    const facts = snapshot.facts.get(node.id);
    if (facts === undefined || node.availability === 'drain' || isLost(node)) continue;
    if (unmetConstraint(placement.constraints, node, facts) !== undefined) continue;
    const slot = slotOfNode(snapshot, node);
    if (node.availability === 'active' || held(slot)) slots.push(slot);
  }
  return new Set(slots.sort((a, b) => a - b));
}
