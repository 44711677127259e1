import type { Position } from './problem.ts';

/** A YAML document as plain values that remember where they stand; aliases and merges are already resolved. */
export type TreeNode = TreeScalar | TreeList | TreeMap;

export interface TreeScalar extends Position {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | null;
  /** As written, without quotes: what `0644` or `1.10` was before YAML made a number of it. */
  readonly source: string;
}

export interface TreeList extends Position {
  readonly kind: 'list';
  readonly items: readonly TreeNode[];
}

export interface TreeMap extends Position {
  readonly kind: 'map';
  readonly entries: readonly TreeEntry[];
}

export interface TreeEntry {
  readonly key: string;
  /** Where the key stands. */
  readonly at: Position;
  readonly value: TreeNode;
}

/** What stands there, for messages: `the number 10`, `a list`, `nothing`. */
export function describeNode(node: TreeNode): string {
  if (node.kind !== 'scalar') return node.kind === 'list' ? 'a list' : 'a mapping';
  if (node.value === null) return 'nothing';
  if (typeof node.value === 'number') return `the number ${shorten(node.source)}`;
  if (typeof node.value === 'boolean') return `the boolean ${shorten(node.source)}`;
  return node.value === '' ? 'an empty string' : `the string "${shorten(node.value)}"`;
}

/** A quoted value longer than this hides the message around it. */
const maxQuotedLength = 60;

export function shorten(text: string): string {
  const line = text.replaceAll(/\s+/gu, ' ');
  return line.length <= maxQuotedLength ? line : `${line.slice(0, maxQuotedLength)}…`;
}
