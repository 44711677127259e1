/** Use-case: what people say of a node, its availability and its labels. One conditional put of the node's record. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { Problem } from '../../proto/base/errors.ts';
import { labelNameProblem, labelValueProblem, maxLabelsPerNode } from '../../proto/domain/node-labels.ts';
import type { Availability, Node } from '../../proto/domain/node.ts';
import { canonicalJson } from '../plan/canonical-json.ts';
import { nearestNames } from '../plan/nearest-names.ts';
import type { Snapshot, Stored } from '../plan/snapshot.ts';

export interface NodePorts {
  readonly snapshot: () => Snapshot;
  /** Puts the record if it still has `modRevision`; resolves when the snapshot shows it. False: somebody else was first. */
  readonly putNode: (node: Node, modRevision: number) => Promise<boolean>;
}

export interface NodeChange {
  readonly availability?: Availability;
  readonly setLabels: Readonly<Record<string, string>>;
  /** One that the node does not have is no error: it is gone already. */
  readonly removeLabels: readonly string[];
}

/** Two people who write the same node at the same instant: after this many rounds the later one is told. */
const maxUpdateRounds = 5;

/** `written`: its name or its id. Nothing is written where nothing changes. */
export async function updateNode(ports: NodePorts, written: string, change: NodeChange): Promise<Node> {
  refuseLabels(written, change);
  for (let round = 0; round < maxUpdateRounds; round += 1) {
    const { value: before, modRevision } = knownNode(ports.snapshot(), written);
    const node = changed(before, change);
    if (Object.keys(node.labels).length > maxLabelsPerNode) {
      throw new FrotaError(
        'invalid',
        `node ${node.name} would have ${String(Object.keys(node.labels).length)} labels; at most ${String(maxLabelsPerNode)}: remove some`,
      );
    }
    if (canonicalJson(node) === canonicalJson(before) || (await ports.putNode(node, modRevision))) return node;
  }
  throw new FrotaError(
    'conflict',
    `node "${written}" was changed by somebody else at the same moment; nothing was done, try again`,
  );
}

/** @throws FrotaError `not-found` with the names that are near, or those there are. */
export function knownNode(snapshot: Snapshot, written: string): Stored<Node> {
  const nodes = [...snapshot.nodes.values()];
  const node = snapshot.nodes.get(written) ?? nodes.find(({ value }) => value.name === written);
  if (node !== undefined) return node;
  const names = nodes.map(({ value }) => value.name).sort();
  const near = nearestNames(written, names);
  const some = names.slice(0, maxListed).join(', ') + (names.length > maxListed ? ', …' : '');
  const there = names.length === 0 ? 'no node has joined yet' : `there are: ${some}`;
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : there;
  throw new FrotaError('not-found', `there is no node "${written}"; ${hint}`);
}

/** A message stays readable on a cluster with thousands of nodes. */
const maxListed = 10;

function changed(node: Node, { availability, setLabels, removeLabels }: NodeChange): Node {
  const removed = new Set(removeLabels);
  const kept = Object.entries(node.labels).filter(([name]) => !removed.has(name));
  const labels = Object.fromEntries([...kept, ...Object.entries(setLabels)]);
  return { ...node, labels, availability: availability ?? node.availability };
}

function refuseLabels(written: string, { setLabels, removeLabels }: NodeChange): void {
  const found = [
    ...Object.entries(setLabels).flatMap(([name, value]) => [labelNameProblem(name), labelValueProblem(name, value)]),
    ...removeLabels.map(labelNameProblem),
    ...removeLabels.map((name) => (name in setLabels ? `label ${name} can't be set and removed at once` : undefined)),
  ];
  const problems = found.flatMap((message): Problem[] => (message === undefined ? [] : [{ where: written, message }]));
  const [first] = problems;
  if (first === undefined) return;
  throw new FrotaError('invalid', `node "${written}" was not changed: ${first.message}`, { problems });
}
