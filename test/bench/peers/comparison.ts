/** Frota and its peers side by side, as a table that can be read in a terminal and put into a page. */
import { quantile } from '../samples.ts';
import type { Loss } from './loss.ts';

export type Fault = 'node loss' | 'container killed';

/** One contender's losses of one kind. */
export interface Column {
  readonly contender: string;
  readonly fault: Fault;
  readonly losses: readonly Loss[];
}

/** From so many samples on a 99th percentile is told; with fewer it is the maximum and called so. */
const samplesForP99 = 20;

const rows = [
  { name: 'last replacement answering', of: ({ answeringMs }: Loss) => answeringMs, unit: ' ms' },
  { name: 'last failed request over', of: ({ lastFailureMs }: Loss) => lastFailureMs, unit: ' ms' },
  { name: 'failed requests', of: ({ failed }: Loss) => failed, unit: '' },
] as const;

/** Ratios are of the contender `base`; without it there are none. Who has measured nothing of a fault is left out there. */
export function comparison(columns: readonly Column[], base: string): string {
  const faults = [...new Set(columns.map(({ fault }) => fault))];
  return faults.map((fault) => tableOf(fault, base, columns.filter((each) => each.fault === fault && each.losses.length > 0))).join('\n'); // prettier-ignore
}

function tableOf(fault: Fault, base: string, columns: readonly Column[]): string {
  const own = columns.find(({ contender }) => contender === base);
  const head = columns.map(({ contender, losses }) => `${contender} (${String(losses.length)})`);
  const lines = rows.map(({ name, of, unit }) => {
    const cells = columns.map(({ losses }) =>
      cellOf(losses.map(of), losses === own?.losses ? [] : (own?.losses.map(of) ?? []), unit),
    );
    return `| ${[name, ...cells].join(' | ')} |`;
  });
  return [`| ${[fault, ...head].join(' | ')} |`, `|${' --- |'.repeat(columns.length + 1)}`, ...lines, ''].join('\n');
}

/** `1546 (p99 1965) ms`, and for peers how many times that is of Frota's. */
function cellOf(samples: readonly number[], own: readonly number[], unit: string): string {
  const median = quantile(samples, 0.5);
  const worst = samples.length < samplesForP99 ? 'at most' : 'p99';
  const told = `${median.toFixed(0)}${unit} (${worst} ${quantile(samples, 0.99).toFixed(0)})`;
  const ownMedian = quantile(own, 0.5);
  // Nothing to compare with, or nothing to divide by.
  return !(ownMedian > 0) ? told : `${told}, ${(median / ownMedian).toFixed(1)}×`;
}
