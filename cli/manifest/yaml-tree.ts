import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml';
import type { Alias, Document, Node, Pair, Scalar, YAMLMap } from 'yaml';
import type { Findings, Position } from './problem.ts';
import type { TreeEntry, TreeMap, TreeNode, TreeScalar } from './tree.ts';

/** Compose files of hundreds of services stay below 200 kB; more is a mistake, and parsing time must stay bounded. */
export const maxFileLength = 512 * 1024;
/** Values after aliases are expanded: a few lines of nested aliases can stand for billions of them. */
export const maxNodes = 100_000;
/** Compose nests about eight levels; the walk below recurses once for each. */
export const maxDepth = 100;

/**
 * Parses one YAML 1.2 document (1.1 where a `%YAML 1.1` directive says so), resolving anchors, aliases and `<<`.
 * Undefined means there is nothing to read on; the findings say why. It never throws for any text.
 */
export function parseYamlTree(text: string, findings: Findings): TreeNode | undefined {
  const start: Position = { line: 1, column: 1 };
  if (text.length > maxFileLength) {
    findings.problem(start, '', `the file is larger than ${String(maxFileLength / 1024)} KiB`);
    return undefined;
  }
  const lines = linesOf(text);
  const document = parseDocument(text, lines, findings);
  if (document === undefined) return undefined;
  const reader = new TreeReader(lines, findings);
  if (document.contents === null || isEmptyScalar(document.contents)) {
    findings.problem(start, '', 'the file is empty; a Compose file starts with "services:"');
    return undefined;
  }
  return reader.read(document.contents);
}

const isEmptyScalar = (node: unknown): boolean => isScalar(node) && node.value === null;

function parseDocument(text: string, lines: LineCounter, findings: Findings): Document.Parsed | undefined {
  let documents: Document.Parsed[];
  try {
    const parsed = parseAllDocuments(text, {
      prettyErrors: false,
      // The library compares every key with every other; TreeReader finds duplicates in linear time.
      uniqueKeys: false,
      logLevel: 'silent',
    });
    documents = [...parsed];
  } catch (thrown) {
    const reason = thrown instanceof RangeError ? 'it is nested too deeply' : String(thrown);
    findings.problem({ line: 1, column: 1 }, '', `the file can't be read as YAML: ${reason}`);
    return undefined;
  }
  const [first, second] = documents;
  if (first === undefined) {
    findings.problem({ line: 1, column: 1 }, '', 'the file is empty; a Compose file starts with "services:"');
    return undefined;
  }
  for (const error of [...first.errors, ...first.warnings]) {
    // The library's own limit: it recurses once for each level and answers when the stack is used up.
    const message = error.code === 'RESOURCE_EXHAUSTION' ? 'it is nested too deeply' : error.message;
    const at = error.pos[0];
    const hint = text.startsWith('${', at - 1) ? '; within { } and [ ] a reference needs quotes: "${NAME}"' : '';
    findings.problem(positionOf(lines, at), '', `not valid YAML: ${message}${hint}`);
    // What the parser finds behind a token that it did not expect mostly follows from that one.
    if (error.code === 'UNEXPECTED_TOKEN') break;
  }
  if (second !== undefined) {
    const at = positionOf(lines, second.range[0]);
    findings.problem(at, '', 'a second YAML document starts here; a Compose file holds one');
  }
  return findings.hasProblems ? undefined : first;
}

/** Counted here: where the parser's lexer gives up on a line, its own counter misses the break at the end of it. */
function linesOf(text: string): LineCounter {
  const lines = new LineCounter();
  lines.addNewLine(0);
  for (const found of text.matchAll(/\r\n|\r|\n/gu)) lines.addNewLine(found.index + found[0].length);
  return lines;
}

function positionOf(lines: LineCounter, offset: number): Position {
  const { line, col } = lines.linePos(offset);
  // The counter answers 0 for a place before the first character it saw.
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

/** Stops the walk once the file has proved too large; the finding is already recorded. */
class TooLarge extends Error {}

class TreeReader {
  readonly #lines: LineCounter;
  readonly #findings: Findings;
  /** Anchors as they stand at this point of the walk: a later one of the same name hides the earlier. */
  readonly #anchors = new Map<string, Node>();
  readonly #targets = new Map<Alias, Node | undefined>();
  readonly #open = new Set<Node>();
  #nodes = 0;

  constructor(lines: LineCounter, findings: Findings) {
    this.#lines = lines;
    this.#findings = findings;
  }

  read(root: Node): TreeNode | undefined {
    try {
      this.#bindAliases(root, 0);
      const tree = this.#node(root, 0, 0);
      return this.#findings.hasProblems ? undefined : tree;
    } catch (thrown) {
      if (thrown instanceof TooLarge) return undefined;
      throw thrown;
    }
  }

  /** In document order, before anything is expanded, so that an alias means the anchor that precedes it. */
  #bindAliases(node: unknown, depth: number): void {
    if (depth > maxDepth) this.#giveUp({ line: 1, column: 1 }, `it nests deeper than ${String(maxDepth)} levels`);
    if (isAlias(node)) {
      this.#targets.set(node, this.#anchors.get(node.source));
      return;
    }
    if ((isScalar(node) || isMap(node) || isSeq(node)) && node.anchor !== undefined) {
      this.#anchors.set(node.anchor, node);
    }
    if (isPair(node)) {
      this.#bindAliases(node.key, depth + 1);
      this.#bindAliases(node.value, depth + 1);
    } else if (isMap(node) || isSeq(node)) {
      for (const item of node.items) this.#bindAliases(item, depth + 1);
    }
  }

  #node(node: unknown, offset: number, depth: number): TreeNode {
    const at = this.#at(node, offset);
    this.#nodes += 1;
    if (this.#nodes > maxNodes) {
      this.#giveUp(at, `it stands for more than ${String(maxNodes)} values once its aliases are expanded`);
    }
    if (depth > maxDepth) this.#giveUp(at, `it nests deeper than ${String(maxDepth)} levels`);
    if (isAlias(node)) return this.#alias(node, at, depth);
    if (isMap(node)) return this.#guarded(node, at, () => this.#map(node, at, depth));
    if (isSeq(node)) {
      return this.#guarded(node, at, () => ({
        kind: 'list',
        items: node.items.map((item) => this.#node(item, node.range?.[0] ?? offset, depth + 1)),
        ...at,
      }));
    }
    return isScalar(node) ? scalarNode(node, at) : nothing(at);
  }

  #alias(alias: Alias, at: Position, depth: number): TreeNode {
    const target = this.#targets.get(alias);
    if (target === undefined) {
      this.#findings.problem(at, '', `unknown alias "*${alias.source}"; no anchor "&${alias.source}" precedes it`);
      return nothing(at);
    }
    if (this.#open.has(target)) {
      this.#findings.problem(at, '', `alias "*${alias.source}" refers to a value that contains it`);
      return nothing(at);
    }
    return this.#node(target, 0, depth + 1);
  }

  #guarded(node: Node, at: Position, read: () => TreeNode): TreeNode {
    if (this.#open.has(node)) return nothing(at);
    this.#open.add(node);
    try {
      return read();
    } finally {
      this.#open.delete(node);
    }
  }

  #map(map: YAMLMap, at: Position, depth: number): TreeMap {
    const own = new Map<string, TreeEntry>();
    const merged: TreeMap[] = [];
    let mergedAt: Position | undefined;
    for (const item of map.items as (Pair | Node)[]) {
      if (!isPair(item)) continue;
      const keyAt = this.#at(item.key, map.range?.[0] ?? 0);
      const key = this.#key(item.key, keyAt);
      if (key === undefined) continue;
      const value = this.#node(item.value, this.#valueOffset(item, map), depth + 1);
      if (isMergeKey(item.key)) {
        if (mergedAt !== undefined) this.#duplicate(keyAt, key, mergedAt);
        mergedAt = keyAt;
        merged.push(...this.#mergeSources(value));
        continue;
      }
      const earlier = own.get(key);
      if (earlier === undefined) own.set(key, { key, at: keyAt, value });
      else this.#duplicate(keyAt, key, earlier.at);
    }
    // What is written here wins over what is merged; of several merged mappings the earlier one wins.
    for (const source of merged) {
      for (const entry of source.entries) if (!own.has(entry.key)) own.set(entry.key, entry);
    }
    return { kind: 'map', entries: [...own.values()], ...at };
  }

  #mergeSources(value: TreeNode): readonly TreeMap[] {
    const sources = value.kind === 'list' ? value.items : [value];
    return sources.flatMap((source) => {
      if (source.kind === 'map') return [source];
      this.#findings.problem(source, '', '"<<" merges mappings: expected an alias of a mapping, or a list of them');
      return [];
    });
  }

  #duplicate(at: Position, key: string, earlier: Position): void {
    this.#findings.problem(at, '', `duplicate key "${key}"; it is already on line ${String(earlier.line)}`);
  }

  #key(key: unknown, at: Position): string | undefined {
    const node = isAlias(key) ? this.#targets.get(key) : key;
    if (isScalar(node) && node.value !== null) return scalarNode(node, at).source;
    this.#findings.problem(at, '', `a key must be a string, not ${isScalar(node) ? 'empty' : 'a list or a mapping'}`);
    return undefined;
  }

  #valueOffset(pair: Pair, map: YAMLMap): number {
    return (pair.key as Node | null)?.range?.[1] ?? map.range?.[0] ?? 0;
  }

  #at(node: unknown, fallback: number): Position {
    const range = isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range : undefined;
    return positionOf(this.#lines, range?.[0] ?? fallback);
  }

  #giveUp(at: Position, reason: string): never {
    this.#findings.problem(at, '', `the file is too large: ${reason}`);
    throw new TooLarge(reason);
  }
}

const isMergeKey = (key: unknown): boolean => isScalar(key) && key.source === '<<' && key.type === 'PLAIN';

const nothing = (at: Position): TreeScalar => ({ kind: 'scalar', value: null, source: '', ...at });

function scalarNode(node: Scalar, at: Position): TreeScalar {
  const { value } = node;
  const source = typeof value === 'string' ? value : (node.source ?? String(value));
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number' || value === null) {
    return { kind: 'scalar', value, source, ...at };
  }
  // YAML 1.1 makes dates and byte strings of some scalars; Compose knows none, so they stay the text they were.
  return { kind: 'scalar', value: source, source, ...at };
}
