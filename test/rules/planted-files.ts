/** The planted violations, laid out in a temporary copy of the house in which their paths are those of real rooms. */
import { cpSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const root = resolve(import.meta.dirname, '../..');
const planted = join(import.meta.dirname, 'planted');

export interface PlantedRule {
  /** Name of its folder. */
  readonly folder: string;
  /** Path of the file that breaks the rule, as it lies in the house. */
  readonly broken: string;
  readonly corrected: string;
}

/** By convention the planted file's name begins with `planted-`; what it needs beside it does not come first. */
export function plantedRules(kind: 'layering' | 'lint'): readonly PlantedRule[] {
  return readdirSync(join(planted, kind)).map((folder) => ({
    folder,
    broken: plantedFile(join(planted, kind, folder, 'broken')),
    corrected: plantedFile(join(planted, kind, folder, 'corrected')),
  }));
}

function plantedFile(folder: string): string {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /planted-[^/]*[.]ts$/.test(file),
  );
  const file = files.filter((each) => !/-(other|target)[.]ts$/.test(each));
  if (file.length !== 1 || file[0] === undefined)
    throw new Error(`${folder}: expected one planted file, found ${files.join(', ')}`);
  return file[0];
}

/** One folder that holds the broken (or corrected) file of every rule at once, and what they import. */
export function layOut(
  kind: 'layering' | 'lint',
  state: 'broken' | 'corrected',
): { house: string; remove: () => void } {
  const house = mkdtempSync(join(tmpdir(), 'ft-rules-'));
  cpSync(join(planted, 'support'), house, { recursive: true });
  for (const folder of readdirSync(join(planted, kind))) {
    cpSync(join(planted, kind, folder, state), house, { recursive: true });
  }
  for (const file of ['package.json', 'tsconfig.json']) cpSync(join(root, file), join(house, file));
  symlinkSync(join(root, 'node_modules'), join(house, 'node_modules'));
  return { house, remove: () => rmSync(house, { recursive: true, force: true }) };
}
