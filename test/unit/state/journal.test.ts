import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createJournal } from '../../../agent/state/journal.ts';
import { silentLogger } from '../../../proto/base/log.ts';

describe('journal', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ft-journal-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('gives back what was put, under ids of any form', async () => {
    const journal = createJournal(folder, silentLogger);
    await journal.put('units', 'service:a/b', { n: 1 });
    await journal.put('units', 'tasks', { n: 2 });
    await journal.put('units', 'tasks', { n: 3 });
    const loaded = await createJournal(folder, silentLogger).load('units');
    expect([...loaded].sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
      { id: 'service:a/b', value: { n: 1 } },
      { id: 'tasks', value: { n: 3 } },
    ]);
  });

  it('keeps the order of writes to one record', async () => {
    const journal = createJournal(folder, silentLogger);
    await Promise.all(Array.from({ length: 20 }, (_, n) => journal.put('tasks', 'x', n)));
    expect(await journal.load('tasks')).toEqual([{ id: 'x', value: 19 }]);
    await journal.delete('tasks', 'x');
    await journal.delete('tasks', 'x');
    expect(await journal.load('tasks')).toEqual([]);
  });

  it('sets a torn file aside and drops a half-written one', async () => {
    const journal = createJournal(folder, silentLogger);
    await journal.put('tasks', 'good', 1);
    await writeFile(join(folder, 'tasks', 'torn.json'), '{"id":"torn","val');
    await writeFile(join(folder, 'tasks', 'half.json.x.new'), '{');
    expect(await journal.load('tasks')).toEqual([{ id: 'good', value: 1 }]);
    expect((await readdir(join(folder, 'tasks'))).sort()).toEqual(['good.json', 'torn.json.corrupt']);
  });
});
