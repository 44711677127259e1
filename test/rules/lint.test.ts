import { relative, join } from 'node:path';
import { ESLint } from 'eslint';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { layOut, plantedRules, root } from './planted-files.ts';

const rules = plantedRules('lint');
/** Type checkers start slowly on a busy machine. */
const lintTimeoutMs = 60_000;

/** The folder `frota-banned-names-in-class` tests `frota/banned-names`; `typescript-eslint-…` tests `@typescript-eslint/…`. */
const ruleOf = (folder: string): string =>
  folder
    .replace(/-in-(file|folder|class|function|arrow)$/, '')
    .replace(/^frota-/, 'frota/')
    .replace(/^typescript-eslint-/, '@typescript-eslint/');

async function messages(house: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const eslint = new ESLint({ cwd: house, overrideConfigFile: join(root, 'eslint.config.js') });
  const results = await eslint.lintFiles(['**/planted-*.ts']);
  return new Map(
    results.map((result) => [
      relative(house, result.filePath),
      result.messages.map((each) => each.ruleId ?? each.message),
    ]),
  );
}

describe('lint rules', () => {
  let broken: ReadonlyMap<string, readonly string[]>;
  let corrected: ReadonlyMap<string, readonly string[]>;
  const houses: (() => void)[] = [];

  beforeAll(async () => {
    for (const state of ['broken', 'corrected'] as const) {
      const { house, remove } = layOut('lint', state);
      houses.push(remove);
      if (state === 'broken') broken = await messages(house);
      else corrected = await messages(house);
    }
  }, lintTimeoutMs);
  afterAll(() => {
    for (const remove of houses) remove();
  });

  it.each(rules)('$folder fails for $broken and names both', ({ folder, broken: file }) => {
    expect([...new Set(broken.get(file))]).toEqual([ruleOf(folder)]);
  });

  it.each(rules)('$folder passes once $corrected is corrected', ({ corrected: file }) => {
    expect(corrected.get(file)).toEqual([]);
  });
});
