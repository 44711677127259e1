/** `npm run simulate`: runs seeds and says what happened in them. */
import { parseArgs } from 'node:util';
import { realMs } from './ambient.ts';
import { describeFailure } from './report.ts';
import { runSeed } from './run.ts';
import type { Run } from './run.ts';
import { Tally } from './tally.ts';

const usage = `usage: npm run simulate -- [--seeds N] [--first S] [--seed S] [--trace] [--lines N] [--planted P]
  --seeds N   run N seeds (default 100)
  --first S   the first of them (default: drawn by chance, and printed)
  --seed S    run this one seed
  --trace     print everything that happens
  --lines N   of the trace, with a failure (default 60)
  --planted P run with the planted bug P (see test/simulation/planted)
`;
/** Seeds are drawn below this; any safe integer can be given. */
const drawnBelow = 1_000_000_000;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '100' },
      first: { type: 'string' },
      seed: { type: 'string' },
      trace: { type: 'boolean', default: false },
      lines: { type: 'string', default: '60' },
      planted: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    say(usage);
    return;
  }
  const first = number(values.seed ?? values.first ?? String(Math.floor(Math.random() * drawnBelow)));
  const count = values.seed === undefined ? number(values.seeds) : 1;
  const startedMs = realMs();
  const tally = new Tally();
  let events = 0;
  let virtualMs = 0;
  let ran = 0;
  let slowestCalmMs = 0;
  const failures: Run[] = [];
  for (let seed = first; seed < first + count; seed += 1) {
    const run = await runSeed(seed, values.trace ? { print: (line) => say(`${line}\n`) } : {});
    ran += 1;
    events += run.events;
    virtualMs += run.virtualMs;
    slowestCalmMs = Math.max(slowestCalmMs, run.calmAfterMs);
    tally.addAll(run.tally);
    if (count === 1) say(`seed ${String(seed)}, digest ${run.digest}\n`);
    if (run.violation === undefined) continue;
    failures.push(run);
    say(`${describeFailure(run, number(values.lines), values.planted)}\n`);
    break;
  }
  const seconds = (realMs() - startedMs) / 1_000;
  say(
    `seeds ${String(first)} to ${String(first + ran - 1)}: ${failures.length === 0 ? 'all properties held' : 'FAILED'}\n`,
  );
  say(`${String(ran)} seeds in ${seconds.toFixed(1)} s (${(ran / seconds).toFixed(1)}/s), `);
  say(`${String(events)} events, ${(virtualMs / 3_600_000).toFixed(2)} h of virtual time\n`);
  say(`calm after the last fault: ${(slowestCalmMs / 1_000).toFixed(1)} s at the latest\n`);
  for (const [what, times] of tally.entries()) say(`${String(times).padStart(9)} ${what}\n`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}

function number(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`"${text}" is no whole number\n${usage}`);
}

const say = (text: string): void => {
  process.stdout.write(text);
};

// Whoever reads no further ends the run.
process.stdout.on('error', () => process.exit());
await main();
