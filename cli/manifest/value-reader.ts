import { knownKeys } from './compose-keys.ts';
import type { KeyScope } from './compose-keys.ts';
import { interpolate, variable } from './interpolate.ts';
import type { Environment } from './interpolate.ts';
import { nearestWord } from './near.ts';
import type { Findings, Position } from './problem.ts';
import { parseWhole } from './quantities.ts';
import { describeNode, shorten } from './tree.ts';
import type { TreeEntry, TreeList, TreeMap, TreeNode, TreeScalar } from './tree.ts';

export type ImageProblem = (reference: string) => string | undefined;

/** Linux `MAX_ARG_STRLEN`: the kernel starts no process with a longer argument or `NAME=value`. */
export const maxArgumentLength = 128 * 1024 - 1;

/**
 * Reads typed values out of a tree. Each method answers undefined after it has recorded a problem, so that one pass
 * finds them all. Strings are interpolated here, when they are read; keys never are.
 */
export class ValueReader {
  readonly environment: Environment;
  readonly findings: Findings;
  /** What is wrong with an image reference, or undefined. */
  readonly imageProblem: ImageProblem;

  constructor(environment: Environment, findings: Findings, imageProblem: ImageProblem) {
    this.environment = environment;
    this.findings = findings;
    this.imageProblem = imageProblem;
  }

  problem(at: Position, path: string, message: string, suggestion?: string): void {
    this.findings.problem(at, path, message, suggestion);
    return undefined;
  }

  wrongType(node: TreeNode, path: string, expected: string): void {
    this.problem(node, path, `expected ${expected}, found ${describeNode(node)}`);
  }

  /** The entries of a mapping that the scope supports; every other key is a problem, except `x-…`. */
  fields(node: TreeNode, path: string, scope: KeyScope): ReadonlyMap<string, TreeEntry> | undefined {
    const map = this.map(node, path);
    if (map === undefined) return undefined;
    const found = new Map<string, TreeEntry>();
    for (const entry of map.entries) {
      const { key, at } = entry;
      if (key.startsWith('x-')) continue;
      const keyPath = joinPath(path, key);
      if (scope.supported.includes(key)) {
        found.set(key, entry);
      } else if (Object.hasOwn(scope.refused, key)) {
        const hint = scope.refused[key] ?? '';
        this.problem(at, keyPath, `not supported by this version of Frota${hint === '' ? '' : `; ${hint}`}`);
      } else {
        this.problem(at, keyPath, 'unknown key', nearestWord(key, knownKeys(scope)));
      }
    }
    return found;
  }

  map(node: TreeNode, path: string): TreeMap | undefined {
    if (node.kind === 'map') return node;
    this.wrongType(node, path, 'a mapping');
    return undefined;
  }

  list(node: TreeNode, path: string): TreeList | undefined {
    if (node.kind === 'list') return node;
    this.wrongType(node, path, 'a list');
    return undefined;
  }

  /** A YAML string, interpolated. A bare number or boolean is refused, for YAML may already have changed its text. */
  string(node: TreeNode, path: string, expected?: string): string | undefined {
    if (node.kind === 'scalar' && typeof node.value === 'string') return this.#filled(node, node.value, path);
    if (node.kind !== 'scalar' || node.value === null || expected !== undefined) {
      this.wrongType(node, path, expected ?? 'a string');
      return undefined;
    }
    const quoted = `write "${shorten(node.source)}" in quotes`;
    this.problem(node, path, `expected a string, found ${describeNode(node)}; ${quoted}`);
    return undefined;
  }

  /** A string or a bare number, as text: for quantities that Compose takes in both forms. */
  stringOrNumber(node: TreeNode, path: string, expected: string): string | undefined {
    if (node.kind !== 'scalar') {
      this.wrongType(node, path, expected);
      return undefined;
    }
    if (typeof node.value === 'number') return node.source;
    if (typeof node.value === 'string') return this.#filled(node, node.value, path);
    this.wrongType(node, path, expected);
    return undefined;
  }

  /** A whole number between `min` and `max`, as a number or a string. */
  whole(node: TreeNode, path: string, min: number, max: number): number | undefined {
    const expected = `a whole number from ${String(min)} to ${String(max)}`;
    const text = this.stringOrNumber(node, path, expected);
    if (text === undefined) return undefined;
    const value = parseWhole(text);
    if (value !== undefined && value >= min && value <= max) return value;
    this.problem(node, path, `expected ${expected}, found ${quoteFound(node, text)}`);
    return undefined;
  }

  /** `true` or `false`, or a string that stands for one. */
  boolean(node: TreeNode, path: string): boolean | undefined {
    if (node.kind === 'scalar' && typeof node.value === 'boolean') return node.value;
    const text = node.kind === 'scalar' && typeof node.value === 'string' ? this.#filled(node, node.value, path) : '';
    if (text === 'true' || text === 'false') return text === 'true';
    if (text !== undefined) this.wrongType(node, path, 'true or false');
    return undefined;
  }

  /** One of a few words; undefined also where nothing is written. */
  oneOf<Word extends string>(node: TreeNode | undefined, path: string, words: readonly Word[]): Word | undefined {
    const text = node === undefined ? undefined : this.string(node, path);
    if (node === undefined || text === undefined) return undefined;
    const word = words.find((each) => each === text);
    if (word === undefined) {
      const expected = words.map((each) => `"${each}"`).join(', ');
      this.problem(node, path, `expected ${expected}, found ${quoteFound(node, text)}`, nearestWord(text, words));
    }
    return word;
  }

  /** A list of strings; undefined if any of them is none. */
  strings(node: TreeList, path: string): readonly string[] | undefined {
    const items = node.items.map((item, index) => this.argument(item, `${path}[${String(index)}]`));
    return items.includes(undefined) ? undefined : (items as string[]);
  }

  /** A string that becomes one argument of a process. */
  argument(node: TreeNode, path: string): string | undefined {
    const text = this.string(node, path);
    return text === undefined ? undefined : this.checkedArgument(node, path, text);
  }

  checkedArgument(at: Position, path: string, text: string): string | undefined {
    // A UTF-16 unit takes three bytes at the most, so short texts need no counting.
    if (text.length * 3 <= maxArgumentLength || new TextEncoder().encode(text).length <= maxArgumentLength) return text;
    this.problem(at, path, `longer than ${String(maxArgumentLength)} bytes, the most Linux takes`);
    return undefined;
  }

  /**
   * `environment` and `labels`: a mapping, or a list of `KEY=value`. A key without a value goes to `bare`, which
   * answers its value, or undefined to leave the key out. Of two equal keys in a list the later counts, as in Compose.
   */
  pairs(node: TreeNode, path: string, bare: (key: string, at: Position) => string | undefined): Record<string, string> {
    const pairs = new Map<string, string>();
    const put = (key: string, value: string | undefined, at: Position): void => {
      const keyPath = joinPath(path, key);
      if (key === '') this.problem(at, path, 'a name is missing before "="');
      else if (key.includes('=')) this.problem(at, keyPath, 'a name may not contain "="');
      else if (key.includes('\0')) this.problem(at, path, 'a name may not contain a NUL character');
      else if (value !== undefined && this.checkedArgument(at, keyPath, `${key}=${value}`) !== undefined) {
        pairs.set(key, value);
      }
    };
    if (node.kind === 'map') {
      for (const { key, at, value } of node.entries) {
        const text = this.#pairValue(value, joinPath(path, key));
        if (text.kind === 'value') put(key, text.text, value);
        else if (text.kind === 'bare') put(key, bare(key, at), at);
      }
    } else if (node.kind === 'list') {
      for (const [index, item] of node.items.entries()) {
        const text = this.string(item, `${path}[${String(index)}]`, 'a string such as "NAME=value"');
        if (text === undefined) continue;
        const equals = text.indexOf('=');
        if (equals >= 0) put(text.slice(0, equals), text.slice(equals + 1), item);
        else put(text, bare(text, item), item);
      }
    } else {
      this.wrongType(node, path, 'a mapping or a list of "NAME=value"');
    }
    // Sorted, so that the order in the file makes no difference to what is declared.
    return Object.fromEntries([...pairs].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #pairValue(node: TreeNode, path: string): PairValue {
    if (node.kind !== 'scalar') {
      this.wrongType(node, path, 'a string, a number, a boolean or nothing');
      return { kind: 'problem' };
    }
    if (node.value === null) return { kind: 'bare' };
    if (typeof node.value === 'string') {
      const text = this.#filled(node, node.value, path);
      return text === undefined ? { kind: 'problem' } : { kind: 'value', text };
    }
    const text = typeof node.value === 'number' ? numberText(node.source, node.value) : String(node.value);
    if (text !== node.source) {
      this.findings.notice(
        node,
        path,
        `${node.source} is read as ${text}; write "${node.source}" in quotes to keep it`,
      );
    }
    return { kind: 'value', text };
  }

  #filled(node: TreeScalar, template: string, path: string): string | undefined {
    const filled = interpolate(template, this.environment);
    if (filled.kind === 'problem') {
      this.problem(node, path, filled.message);
      return undefined;
    }
    for (const key of filled.unset) {
      this.findings.notice(node, path, `the variable ${key} is not set; an empty string stands in for it`);
    }
    if (filled.text.includes('\0')) {
      this.problem(node, path, 'a string may not contain a NUL character');
      return undefined;
    }
    return filled.text;
  }

  /** The value of `KEY` written without one; a notice if nothing sets it. */
  inherited(key: string, at: Position, path: string): string | undefined {
    const value = variable(this.environment, key);
    if (value === undefined) {
      this.findings.notice(at, joinPath(path, key), `${key} is not set here, so the containers do not get it`);
    }
    return value;
  }
}

type PairValue =
  { readonly kind: 'value'; readonly text: string } | { readonly kind: 'bare' } | { readonly kind: 'problem' };

/** Keys with dots or blanks in them are quoted, so that a path has one reading. */
export function joinPath(path: string, key: string): string {
  const shown = /^[\w-]+$/u.test(key) ? key : JSON.stringify(shorten(key));
  return path === '' ? shown : `${path}.${shown}`;
}

/** A value as found: for a filled-in string also what it was filled with. */
export function quoteFound(node: TreeNode, text: string): string {
  const found = describeNode(node);
  return node.kind === 'scalar' && node.source !== text ? `${found}, which stands for "${shorten(text)}"` : found;
}

/** A bare number as Compose's loader prints it: a leading zero means octal there, and 1.10 is 1.1. */
function numberText(source: string, value: number): string {
  if (/^-?(?:0|[1-9]\d*)$/u.test(source) || !Number.isFinite(value)) return source;
  const octal = /^([-+]?)0([0-7]+)$/u.exec(source);
  if (octal !== null) return `${octal[1] === '-' ? '-' : ''}${BigInt(`0o${octal[2] ?? '0'}`).toString()}`;
  return String(value);
}
