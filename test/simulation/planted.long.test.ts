import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { faultKinds } from './faults.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, 'test/simulation/planted');
const planted = readdirSync(folder).filter((name) => name.endsWith('.json'));
/** Seeds of their own: those of the other tests hold, and are looked at with other eyes. */
const firstSeed = 1_000;

/** What faults lead to, besides themselves. */
const damages = [
  'messages lost with their stream',
  'messages of an old stream that came late',
  'writes refused by the fence',
  'controllers killed between two writes',
  'journal writes that a disk forgot',
  'transactions that conflicted',
  'datagrams lost',
  'datagrams doubled',
  'one-way links',
  'tasks killed by the guard',
  'attempts of nodes that are cut off',
  'probes refused',
  'peers that told of a node',
  'nodes heard over their session alone',
  'reroutes around silent nodes',
];

const simulate = (...args: string[]): { readonly status: number | null; readonly stdout: string } =>
  spawnSync(process.execPath, ['bin/simulate', ...args], { cwd: root, encoding: 'utf8' });

/** Enough for every kind of fault and of damage to come up again and again. */
const manySeeds = 60;

describe('many seeds', () => {
  it('hold all properties while everything that can be done to a cluster is done to it', () => {
    const { stdout, status } = simulate('--seeds', String(manySeeds));
    expect(stdout).toContain('all properties held');
    expect(status).toBe(0);
    const counts = new Map([...stdout.matchAll(/^ *(\d+) (.+)$/gm)].map(([, count, what]) => [what, Number(count)]));
    for (const what of [...faultKinds.map(({ name }) => name), ...damages]) {
      expect([what, (counts.get(what) ?? 0) > 0]).toEqual([what, true]);
    }
  });
});

describe('a planted bug', () => {
  it.each(planted)('%s is found', (file) => {
    const { foundBy, withinSeeds } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as {
      foundBy: readonly string[];
      withinSeeds: number;
    };
    const args = ['--planted', file.replace('.json', ''), '--first', String(firstSeed), '--seeds', String(withinSeeds)];
    const { stdout, status } = simulate(...args);
    expect(status).toBe(1);
    expect(foundBy).toContain(/ms violates ([a-z-]+)/.exec(stdout)?.[1]);
  });
});
