import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { faultKinds } from './faults.ts';
import { describeFailure } from './report.ts';
import { runSeed } from './run.ts';
import type { Run } from './run.ts';
import { Tally } from './tally.ts';

const root = join(import.meta.dirname, '../..');
const bugs = join(root, 'test/simulation/planted');
/** Always the same, so that a change which breaks them is known at once; the fresh ones look further each time. */
const fixedSeeds = [1, 2, 3, 5, 7, 38];
const freshSeeds = 2;
const runTimeoutMs = 300_000;
const traceLines = 80;

const plantedBugs = readdirSync(bugs)
  .filter((name) => name.endsWith('.json'))
  .map((name) => ({
    name,
    ...(JSON.parse(readFileSync(join(bugs, name), 'utf8')) as { readonly file: string; readonly find: string }),
  }));

const simulate = (...args: string[]): { readonly status: number | null; readonly output: string } => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['bin/simulate', ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  return { status, output: stdout + stderr };
};

function expectToHold(run: Run): void {
  if (run.violation !== undefined) throw new Error(describeFailure(run, traceLines));
}

describe('the cluster in a test tube', { timeout: runTimeoutMs }, () => {
  const runs: Run[] = [];
  beforeAll(async () => {
    for (const seed of fixedSeeds) runs.push(await runSeed(seed));
  }, runTimeoutMs);

  it('holds all properties in runs that were chosen once', () => {
    for (const run of runs) expectToHold(run);
  });

  it('holds them in runs that nobody has seen before', async () => {
    for (let run = 0; run < freshSeeds; run += 1) {
      expectToHold(await runSeed(Math.floor(Math.random() * 1_000_000_000)));
    }
  });

  it('has things happen: most kinds of faults even in a few runs, and a cluster that works meanwhile', () => {
    const tally = new Tally();
    for (const run of runs) tally.addAll(run.tally);
    const injected = faultKinds.map(({ name }) => tally.of(name));
    // Every change of the code makes other runs of the same seeds; that each kind comes up is seen over many (planted.long).
    expect(injected.filter((count) => count > 0).length).toBeGreaterThan(faultKinds.length * 0.7);
    expect(injected.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(50);
    expect(tally.of('messages lost with their stream')).toBeGreaterThan(0);
    expect(tally.of('containers started')).toBeGreaterThan(50);
    expect(tally.of('transactions committed')).toBeGreaterThan(500);
  });

  it('is one run for one seed: twice in this process, and in another', async () => {
    const first = runs[0];
    const again = await runSeed(fixedSeeds[0] ?? 0);
    expect([again.digest, again.events]).toEqual([first?.digest, first?.events]);
    const { status, output } = simulate('--seed', String(fixedSeeds[0]));
    expect(output).toContain(`digest ${String(first?.digest)}`);
    expect(status).toBe(0);
    expect(runs[1]?.digest).not.toBe(first?.digest);
  });

  it('finds a bug that is planted, and says how to see it again', () => {
    const { status, output } = simulate('--planted', 'unfenced-commit', '--first', '1000', '--seeds', '20');
    expect(output).toMatch(/seed \d+ at [\d.]+ ms violates slot-wanted-once/);
    expect(output).toMatch(/replay: npm run simulate -- --seed \d+ --planted unfenced-commit/);
    expect(status).toBe(1);
  });

  it('has every planted bug at its place in the code as it is', () => {
    for (const { name, file, find } of plantedBugs) {
      expect([name, readFileSync(join(root, file), 'utf8').split(find).length - 1]).toEqual([name, 1]);
    }
  });
});
