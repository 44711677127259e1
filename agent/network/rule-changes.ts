/** PURE: a part of table `ip frota` as data, and the smallest transaction that leads from one to another. */
import { createHash } from 'node:crypto';
import { ruleTable } from './base-rules.ts';

export interface Rules {
  /** Name → its rules, in order. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Sets of addresses that come and go with what they are for: name → addresses. */
  readonly sets: ReadonlyMap<string, ReadonlySet<string>>;
  /** What stands in the sets and maps of the base table: name → elements. */
  readonly elements: ReadonlyMap<string, ReadonlySet<string>>;
}

export const noRules: Rules = { chains: new Map(), sets: new Map(), elements: new Map() };

/** nft takes 128 characters for a chain in a verdict; longer or unusual names are replaced by their hash. */
const plainName = /^[A-Za-z0-9._/-]{1,100}$/;

/** `kind/name`, as chains and sets are called. */
export const ruleName = (kind: string, name: string): string =>
  `${kind}/${plainName.test(name) ? name : createHash('sha256').update(name).digest('hex').slice(0, 32)}`;

/** Elements of a verdict map. */
export const verdicts = (targets: ReadonlyMap<string, string>): ReadonlySet<string> =>
  new Set([...targets].map(([key, chain]) => `${key} : goto ${chain}`));

/**
 * Commands for `nft -f -` that lead from `before` to `after`; empty when nothing differs. What is named is made before
 * what names it, and goes after that has gone.
 */
export function ruleChanges(before: Rules, after: Rules): string {
  if (before === after) return '';
  const lines: string[] = [];
  for (const [name, addresses] of after.sets) {
    const known = before.sets.get(name);
    if (known === undefined) lines.push(`add set ${ruleTable} ${name} { type ipv4_addr; }`);
    lines.push(...elementLines(name, known, addresses));
  }
  for (const [name, rules] of after.chains) {
    const known = before.chains.get(name);
    if (known !== undefined && sameRules(known, rules)) continue;
    lines.push(known === undefined ? `add chain ${ruleTable} ${name}` : `flush chain ${ruleTable} ${name}`);
    lines.push(...rules.map((rule) => `add rule ${ruleTable} ${name} ${rule}`));
  }
  for (const name of new Set([...before.elements.keys(), ...after.elements.keys()])) {
    lines.push(...elementLines(name, before.elements.get(name), after.elements.get(name)));
  }
  for (const name of before.chains.keys()) {
    if (after.chains.has(name)) continue;
    lines.push(`flush chain ${ruleTable} ${name}`, `delete chain ${ruleTable} ${name}`);
  }
  for (const name of before.sets.keys()) if (!after.sets.has(name)) lines.push(`delete set ${ruleTable} ${name}`);
  return lines.map((line) => `${line}\n`).join('');
}

const sameRules = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((rule, index) => rule === b[index]);

const nothing: ReadonlySet<string> = new Set();

function elementLines(
  name: string,
  before: ReadonlySet<string> = nothing,
  after: ReadonlySet<string> = nothing,
): readonly string[] {
  const gone = [...before].filter((element) => !after.has(element));
  const added = [...after].filter((element) => !before.has(element));
  return [
    ...(gone.length === 0 ? [] : [`delete element ${ruleTable} ${name} { ${gone.join(', ')} }`]),
    ...(added.length === 0 ? [] : [`add element ${ruleTable} ${name} { ${added.join(', ')} }`]),
  ];
}
