/** What a drill is held to, as people write it: `recovery<2s,errors<1%,lost=0`. */

export type Metric = 'recovery' | 'errors' | 'lost';
export type Comparison = '<' | '<=' | '=';

export interface Objective {
  readonly metric: Metric;
  readonly comparison: Comparison;
  /** Milliseconds, percent, or slots. */
  readonly limit: number;
  /** As written. */
  readonly text: string;
}

/** `at`: how many characters precede what is wrong. */
export interface SloProblem {
  readonly at: number;
  readonly message: string;
}

export type ParsedSlo =
  | { readonly kind: 'objectives'; readonly objectives: readonly Objective[] }
  | { readonly kind: 'problems'; readonly problems: readonly SloProblem[] };

const metrics: Readonly<Record<Metric, { readonly value: RegExp; readonly expected: string }>> = {
  recovery: { value: /^(\d+(?:\.\d+)?)(ms|s|m)$/u, expected: 'a duration such as 2s or 800ms' },
  errors: { value: /^(\d+(?:\.\d+)?)(%)$/u, expected: 'a share such as 1% or 0.5%' },
  lost: { value: /^(\d+)()$/u, expected: 'a whole number of slots' },
};
const factors: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 };
/** More can't be said: each metric once. */
const names = Object.keys(metrics).join(', ');

/** All problems at once. Blanks around parts are allowed. */
export function parseSlo(text: string): ParsedSlo {
  const objectives: Objective[] = [];
  const problems: SloProblem[] = [];
  let at = 0;
  for (const part of text.split(',')) {
    const begin = at + (part.length - part.trimStart().length);
    at += part.length + 1;
    const parsed = parsePart(part.trim(), begin);
    if ('message' in parsed) problems.push(parsed);
    else if (objectives.some(({ metric }) => metric === parsed.metric)) {
      problems.push({ at: begin, message: `${parsed.metric} is given twice` });
    } else objectives.push(parsed);
  }
  return problems.length > 0 ? { kind: 'problems', problems } : { kind: 'objectives', objectives };
}

function parsePart(text: string, at: number): Objective | SloProblem {
  const [whole = '', name = '', blanks = '', comparison = ''] = /^([a-z]*)(\s*)(<=|<|=|)/u.exec(text) ?? [];
  if (!isMetric(name)) {
    const found = text === '' ? 'nothing' : `"${name === '' ? text : name}"`;
    return { at, message: `expected one of ${names}, found ${found}` };
  }
  if (comparison === '') {
    const found = text.slice(whole.length);
    const what = found === '' ? 'nothing' : `"${found}"`;
    return { at: at + name.length + blanks.length, message: `expected <, <= or = after ${name}, found ${what}` };
  }
  const { value, expected } = metrics[name];
  const rest = text.slice(whole.length);
  const [, number, unit = ''] = value.exec(rest.trim()) ?? [];
  if (number === undefined) {
    const found = rest.trim() === '' ? 'nothing' : `"${rest.trim()}"`;
    const blanksAfter = rest.length - rest.trimStart().length;
    return { at: at + whole.length + blanksAfter, message: `${name} takes ${expected}, found ${found}` };
  }
  const limit = Number(number) * (factors[unit] ?? 1);
  return { metric: name, comparison: comparison as Comparison, limit, text };
}

const isMetric = (name: string): name is Metric => Object.hasOwn(metrics, name);

/** Where in the text, for people: the first character is number 1. */
export const placeInSlo = ({ at }: SloProblem): string => `--slo, character ${String(at + 1)}`;

export function isMet({ comparison, limit }: Objective, measured: number): boolean {
  switch (comparison) {
    case '<':
      return measured < limit;
    case '<=':
      return measured <= limit;
    case '=':
      return measured === limit;
  }
}
