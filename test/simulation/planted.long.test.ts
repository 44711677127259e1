import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const folder = join(root, 'test/simulation/planted');
const planted = readdirSync(folder).filter((name) => name.endsWith('.json'));
/** Seeds of their own: those of the other tests hold, and are looked at with other eyes. */
const firstSeed = 1_000;

describe('a planted bug', () => {
  it.each(planted)('%s is found', (file) => {
    const { foundBy, withinSeeds } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as {
      foundBy: readonly string[];
      withinSeeds: number;
    };
    const args = ['--planted', file.replace('.json', ''), '--first', String(firstSeed), '--seeds', String(withinSeeds)];
    const { stdout, status } = spawnSync(process.execPath, ['bin/simulate', ...args], { cwd: root, encoding: 'utf8' });
    expect(status).toBe(1);
    expect(foundBy).toContain(/ms violates ([a-z-]+)/.exec(stdout)?.[1]);
  });
});
