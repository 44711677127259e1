import fc from 'fast-check';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import {
  knownKeys,
  deployKeys,
  portKeys,
  resourcesKeys,
  serviceKeys,
  topLevelKeys,
} from '../../../cli/manifest/compose-keys.ts';
import type { ComposeResult } from '../../../cli/manifest/load.ts';
import { load } from './load-text.ts';

/** Ok with a spec, or at least one problem; every position is a place in the text. */
function expectSound(result: ComposeResult, text: string): void {
  const lines = text.split(/\r\n|\r|\n/u);
  const findings = result.kind === 'ok' ? result.notices : [...result.problems, ...result.notices];
  if (result.kind === 'problems') expect(result.problems.length).toBeGreaterThan(0);
  for (const { line, column, message } of findings) {
    expect(message).not.toBe('');
    expect(line).toBeGreaterThanOrEqual(1);
    expect(line).toBeLessThanOrEqual(lines.length);
    expect(column).toBeGreaterThanOrEqual(1);
    expect(column).toBeLessThanOrEqual((lines[line - 1]?.length ?? 0) + 1);
  }
}

const key = fc.constantFrom(
  ...[topLevelKeys, serviceKeys, deployKeys, resourcesKeys, portKeys].flatMap((scope) => knownKeys(scope)),
  ...['limits', 'cpus', 'memory', 'pids', '<<', 'x-a', 'web', '', '__proto__', 'constructor', '0', 'restrat'],
);
const scalar = fc.oneof(
  fc.constantFrom<unknown>(
    '80:80',
    '1-3:1-3',
    'a b',
    '${A}',
    '$',
    '${B:?x}',
    '10s',
    '64M',
    'on-failure:2',
    'no',
    null,
    -1,
    80,
    0.5,
  ),
  fc.boolean(),
  fc.integer(),
  fc.string(),
);
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.array(tie('tree'), { maxLength: 4 }),
    fc.dictionary(key, tie('tree'), { maxKeys: 5 }),
  ),
}));
const service = fc.dictionary(key, tree, { maxKeys: 8 });

describe('the loader', () => {
  it('answers every YAML tree', () => {
    fc.assert(
      fc.property(fc.oneof(tree, fc.record({ services: fc.dictionary(fc.string(), service) })), (value) => {
        const text = stringify(value);
        expectSound(load(text, { environment: { A: 'a' } }), text);
      }),
      { numRuns: 400 },
    );
  });

  it('answers every text', () => {
    const pieces = fc.constantFrom(
      'services:',
      '\n',
      '  ',
      '\t',
      '- ',
      ': ',
      '&a',
      '*a',
      '<<',
      '[',
      ']',
      '{',
      '}',
      '"',
      "'",
      '|',
      '>',
      '#',
      '---',
      '!x',
      '%YAML 1.1\n',
      ',',
      '? ',
      'web',
      'image',
      '$A',
      '\u0000',
      '\ufeff',
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.oneof(pieces, fc.string({ maxLength: 3 }))).map((list) => list.join('')),
    );
    fc.assert(
      fc.property(text, (value) => {
        expectSound(load(value), value);
      }),
      { numRuns: 1500 },
    );
  });

  it('answers a file of half a megabyte of errors within seconds', () => {
    const text = 'a: }\n'.repeat(100_000);
    const startedMs = performance.now();
    expectSound(load(text), text);
    expect(performance.now() - startedMs).toBeLessThan(20_000);
  });
});

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const corpus = join(process.env['FROTA_COMPOSE_CORPUS'] ?? join(root, '../shared/compose-corpus'), 'cases');

describe.skipIf(!existsSync(corpus))('real Compose files', () => {
  const cases = existsSync(corpus) ? readdirSync(corpus) : [];
  it.each(cases)('%s is loaded or refused with reasons', (name) => {
    const input = join(corpus, name, 'input');
    const files = readdirSync(input, { recursive: true, encoding: 'utf8' }).filter((file) => /\.ya?ml$/u.test(file));
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      const text = readFileSync(join(input, file), 'utf8');
      const result = load(text, { directoryName: name });
      expectSound(result, text);
      // Every key in these files is Compose's or a slip that compose-go refuses too: none may be "unknown" here.
      const unknown = result.kind === 'ok' ? [] : result.problems.filter(({ message }) => message === 'unknown key');
      expect(unknown.map(({ path }) => path)).toEqual([]);
    }
  });
});
