/** What constraints and spread may ask of a node: its id, its name, its platform, the labels people gave it. */
import type { Node, NodeFacts } from '../../proto/domain/node.ts';
import { labelAttributePrefix } from '../../proto/domain/placement.ts';
import type { Constraint } from '../../proto/domain/placement.ts';

/**
 * A node's value of an attribute; '' where it has none, as in Swarm, so that `!=` holds for a node without the label.
 * Undefined: there is no such attribute. The name of a label counts as written, the words before it do not.
 */
export function attributeOf(attribute: string, node: Node, facts: NodeFacts | undefined): string | undefined {
  const prefix = attribute.slice(0, labelAttributePrefix.length);
  if (prefix.toLowerCase() === labelAttributePrefix) return node.labels[attribute.slice(prefix.length)] ?? '';
  switch (attribute.toLowerCase()) {
    case 'node.id':
      return node.id;
    case 'node.hostname':
      return node.name;
    case 'node.platform.os':
      return facts?.os ?? '';
    case 'node.platform.arch':
      return facts?.architecture ?? '';
    default:
      return undefined;
  }
}

/** The first constraint that the node does not meet; undefined if it meets all. Values are compared as Swarm does, without case. */
export function unmetConstraint(
  constraints: readonly Constraint[],
  node: Node,
  facts: NodeFacts | undefined,
): Constraint | undefined {
  return constraints.find(({ attribute, operator, value }) => {
    const actual = attributeOf(attribute, node, facts);
    if (actual === undefined) return true;
    return isSame(attribute, actual, value) !== (operator === '==');
  });
}

function isSame(attribute: string, actual: string, value: string): boolean {
  if (actual === value) return true;
  const [a, b] = [actual.toLowerCase(), value.toLowerCase()];
  if (a === b) return true;
  return attribute.toLowerCase() === 'node.platform.arch' && (architectures[a] ?? a) === (architectures[b] ?? b);
}

/** Swarm's nodes call themselves what `uname -m` says, and its Compose files do so too; ours have OCI's names. */
const architectures: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };
