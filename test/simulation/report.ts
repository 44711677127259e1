/** A failed run in words: what happened last, what the cluster looked like, what did not hold, and how to see it again. */
import type { Run } from './run.ts';

export function describeFailure(run: Run, lines: number, planted?: string): string {
  const { seed, violation, tail, picture } = run;
  if (violation === undefined) return `seed ${String(seed)}: all properties held`;
  const { property, why, what, atMs } = violation;
  const bug = planted === undefined ? '' : ` --planted ${planted}`;
  return [
    ...(lines === 0 ? [] : [...tail.slice(-lines), '', ...picture, '']),
    `seed ${String(seed)} at ${atMs.toFixed(3)} ms violates ${property}`,
    `  ${what}`,
    `  (${why})`,
    `replay: npm run simulate -- --seed ${String(seed)}${bug}`,
    '',
  ].join('\n');
}
