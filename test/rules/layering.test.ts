import { createRequire } from 'node:module';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cruise, type ICruiseResult, type IConfiguration } from 'dependency-cruiser';
import extractTSConfig from 'dependency-cruiser/config-utl/extract-ts-config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { layOut, plantedRules, root } from './planted-files.ts';

const config = createRequire(import.meta.url)(join(root, '.dependency-cruiser.cjs')) as IConfiguration;
const rules = plantedRules('layering');

/** Rule names by the file they were broken in. */
async function violations(house: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const { options = {}, forbidden = [] } = config;
  const tsConfig = extractTSConfig(join(house, 'tsconfig.json'));
  const folders = readdirSync(house).filter((name) => ['proto', 'controller', 'agent', 'cli', 'test'].includes(name));
  const { output } = await cruise(
    folders,
    { ...options, validate: true, ruleSet: { forbidden }, baseDir: house },
    options.enhancedResolveOptions,
    { tsConfig },
  );
  const found = new Map<string, string[]>();
  for (const { from, rule, cycle } of (output as ICruiseResult).summary.violations) {
    // A cycle is told once, from whichever of its files comes first: it is each one's.
    for (const file of cycle?.map((each) => each.name) ?? [from]) {
      found.set(file, [...(found.get(file) ?? []), rule.name]);
    }
  }
  return found;
}

describe('layering rules', () => {
  let broken: ReadonlyMap<string, readonly string[]>;
  let corrected: ReadonlyMap<string, readonly string[]>;
  const houses: (() => void)[] = [];

  beforeAll(async () => {
    for (const state of ['broken', 'corrected'] as const) {
      const { house, remove } = layOut('layering', state);
      houses.push(remove);
      if (state === 'broken') broken = await violations(house);
      else corrected = await violations(house);
    }
  });
  afterAll(() => {
    for (const remove of houses) remove();
  });

  it('have each a planted violation', () => {
    const names = (config.forbidden ?? []).map((rule) => rule.name).sort();
    expect(rules.map((rule) => rule.folder).sort()).toEqual(names);
  });

  it.each(rules)('$folder fails for $broken and names both', ({ folder, broken: file }) => {
    expect([...new Set(broken.get(file))]).toEqual([folder]);
  });

  it.each(rules)('$folder passes once $corrected is corrected', ({ corrected: file }) => {
    expect(corrected.get(file)).toBeUndefined();
  });

  it('are broken by no corrected file', () => {
    expect([...corrected]).toEqual([]);
  });
});
