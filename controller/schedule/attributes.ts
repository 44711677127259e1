/** What constraints and spread may ask of a node: its id, its name, its platform, the labels people gave it. */
import type { Node, NodeFacts } from '../../proto/domain/node.ts';
import { labelAttributePrefix } from '../../proto/domain/placement.ts';
import type { Constraint } from '../../proto/domain/placement.ts';

/** A node's value of an attribute; '' where it has none, as in Swarm, so that `!=` holds for a node without the label. */
export type AttributeReader = (node: Node, facts: NodeFacts | undefined) => string;

/** The name of a label counts as written, the words before it do not. Undefined: there is no such attribute. */
export function readerOf(attribute: string): AttributeReader | undefined {
  const prefix = attribute.slice(0, labelAttributePrefix.length);
  const name = attribute.slice(prefix.length);
  if (prefix.toLowerCase() === labelAttributePrefix && name !== '') return ({ labels }) => labels[name] ?? '';
  switch (attribute.toLowerCase()) {
    case 'node.id':
      return ({ id }) => id;
    case 'node.hostname':
      return (node) => node.name;
    case 'node.platform.os':
      return (_node, facts) => facts?.os ?? '';
    case 'node.platform.arch':
      return (_node, facts) => facts?.architecture ?? '';
    default:
      return undefined;
  }
}

/** The first of its constraints that a node does not meet; undefined if it meets all. */
export type ConstraintCheck = (node: Node, facts: NodeFacts | undefined) => Constraint | undefined;

/** Values are compared as Swarm does, without case. A constraint on what no node has is met by none. */
export function checkOf(constraints: readonly Constraint[]): ConstraintCheck {
  const checks = constraints.map((constraint) => ({ constraint, isMet: isMetBy(constraint) }));
  return (node, facts) => {
    for (const { constraint, isMet } of checks) if (!isMet(node, facts)) return constraint;
    return undefined;
  };
}

export function unmetConstraint(
  constraints: readonly Constraint[],
  node: Node,
  facts: NodeFacts | undefined,
): Constraint | undefined {
  return constraints.length === 0 ? undefined : checkOf(constraints)(node, facts);
}

function isMetBy({ attribute, operator, value }: Constraint): (node: Node, facts: NodeFacts | undefined) => boolean {
  const read = readerOf(attribute);
  if (read === undefined) return () => false;
  const fold = attribute.toLowerCase() === 'node.platform.arch' ? foldArchitecture : foldText;
  const wanted = fold(value);
  const equal = operator === '==';
  return (node, facts) => {
    const actual = read(node, facts);
    return (actual === value || fold(actual) === wanted) === equal;
  };
}

const foldText = (text: string): string => text.toLowerCase();

/** Swarm's nodes call themselves what `uname -m` says, and its Compose files do so too; ours have OCI's names. */
const architectures: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };

const foldArchitecture = (text: string): string => architectures[text.toLowerCase()] ?? text.toLowerCase();
