/** The journal on a disk that is full: what was there stays, nothing is torn, and with room it goes on. Needs root. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createJournal } from '../../../agent/state/journal.ts';
import type { Journal } from '../../../agent/state/journal.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { makeSmallDisk, smallDiskKinds } from '../../builders/small-disk.ts';
import type { SmallDisk } from '../../builders/small-disk.ts';

const diskBytes = 8_000_000;
const ids = Array.from({ length: 20 }, (_, n) => `task${String(n)}`);

let disk: SmallDisk;
afterEach(() => {
  disk.remove();
});

const folder = (): string => join(disk.path, 'journal');
const filesOf = async (): Promise<readonly string[]> => (await readdir(join(folder(), 'tasks'))).sort();
const named = (names: readonly string[]): readonly string[] => names.map((id) => `${id}.json`).sort();

/** What the next agent would read. */
async function loaded(): Promise<ReadonlyMap<string, unknown>> {
  const records = await createJournal(folder(), silentLogger).load('tasks');
  return new Map(records.map(({ id, value }) => [id, value]));
}

const putAll = (journal: Journal, value: (id: string) => unknown): Promise<readonly PromiseSettledResult<void>[]> =>
  Promise.allSettled(ids.map((id) => journal.put('tasks', id, value(id))));

describe.each(smallDiskKinds)('on %s', (kind) => {
  test('a record that finds no room says so and leaves the earlier one', async () => {
    disk = makeSmallDisk(kind, diskBytes);
    const journal = createJournal(folder(), silentLogger);
    await putAll(journal, (id) => ({ id, round: 1 }));
    disk.fill();
    const large = 'x'.repeat(100_000);
    for (const outcome of await putAll(journal, (id) => ({ id, round: 2, large }))) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'exhausted' } });
      const { message } = (outcome as PromiseRejectedResult).reason as Error;
      expect(message).toMatch(
        new RegExp(`no room for task\\d+\\.json in ${folder()}/tasks \\(0\\.0 MB of .*; make room there`),
      );
    }
    expect(await filesOf()).toEqual(named(ids));
    expect(await loaded()).toEqual(new Map(ids.map((id) => [id, { id, round: 1 }])));
    // What is removed is removed, and the same journal writes again as soon as there is room.
    await journal.delete('tasks', 'task0');
    disk.makeRoom();
    expect((await putAll(journal, (id) => ({ id, round: 3, large }))).map(({ status }) => status)).not.toContain(
      'rejected',
    );
    expect(await loaded()).toEqual(new Map(ids.map((id) => [id, { id, round: 3, large }])));
  });

  test('each record is the last one that was acknowledged, whenever it becomes full', async () => {
    disk = makeSmallDisk(kind, diskBytes);
    const journal = createJournal(folder(), silentLogger);
    const acknowledged = new Map<string, unknown>();
    let rejected = 0;
    let room = 900_000;
    for (let round = 1; round <= 12; round += 1) {
      disk.makeRoom();
      disk.fill(room);
      room = Math.round(room * 0.7);
      const value = (id: string): unknown => ({
        id,
        round,
        text: 'y'.repeat((round * 7919 + id.length * 104_729) % 40_000),
      });
      const outcomes = await putAll(journal, value);
      for (const [index, { status }] of outcomes.entries()) {
        const id = ids[index] ?? '';
        if (status === 'fulfilled') acknowledged.set(id, value(id));
        else rejected += 1;
      }
      expect(await loaded()).toEqual(acknowledged);
      expect(await filesOf()).toEqual(named([...acknowledged.keys()]));
    }
    expect(rejected).toBeGreaterThan(20);
    expect(acknowledged.size).toBeGreaterThan(0);
  });
});
