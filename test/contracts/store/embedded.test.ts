import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEmbeddedStore } from '../../../controller/store/embedded/embedded-store.ts';
import type { Entry } from '../../../controller/store/store.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { sha256 } from '../../builders/domain.ts';
import { collect, describeStore, only, put, remove } from './store-contract.ts';

const newFolder = (): string => mkdtempSync(join(tmpdir(), 'ft-store-'));
let contractFolders: string[] = [];

describeStore({
  name: 'embedded',
  create: () => {
    const folder = newFolder();
    contractFolders.push(folder);
    return Promise.resolve(openEmbeddedStore(folder));
  },
  cleanUp: () => {
    for (const folder of contractFolders) rmSync(folder, { recursive: true, force: true });
    contractFolders = [];
    return Promise.resolve();
  },
  rounds: 25,
});

/** Large values are compared by their digests: element by element takes minutes. */
const digests = (entries: readonly Entry[]): readonly string[] =>
  entries.map(
    ({ key, value, modRevision }) => `${key} ${String(modRevision)} ${sha256(Buffer.from(value).toString('latin1'))}`,
  );

describe('embedded store on disk', () => {
  let folder = '';
  const file = (): string => join(folder, 'store.lmdb');
  beforeEach(() => {
    folder = newFolder();
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  const openCode = (): string => {
    try {
      void openEmbeddedStore(folder).close();
      return 'opened';
    } catch (error) {
      return `${FrotaError.from(error).code}: ${FrotaError.from(error).message}`;
    }
  };

  async function fill(): Promise<void> {
    const store = openEmbeddedStore(folder);
    await store.commit(Array.from({ length: 300 }, (_, n) => only(put(`k${String(n)}`, 'v'.repeat(1_000)))));
    await store.close();
  }

  it('has everything after it is opened again; only the current revision can be watched from', async () => {
    const first = openEmbeddedStore(folder);
    await first.commit([only(put('a', '1'), put('b', '1')), only(put('a', '2')), only(remove('b'))]);
    await first.close();
    const second = openEmbeddedStore(folder);
    expect(await second.range('')).toEqual({
      entries: [{ key: 'a', value: new Uint8Array(Buffer.from('2')), modRevision: 2 }],
      revision: 3,
    });
    await expect(collect(second, '', 2, () => true)).rejects.toMatchObject({ code: 'conflict' });
    const watching = collect(second, '', 3, () => true);
    expect(await second.commit([only(put('c', '1'))])).toEqual([{ kind: 'committed', revision: 4 }]);
    expect((await watching)[0]?.revision).toBe(4);
    await second.close();
  });

  it('refuses a second store in the same folder, naming the holder, and lets it in after the first', async () => {
    const first = openEmbeddedStore(folder);
    expect(openCode()).toMatch(new RegExp(`^conflict: .* in use by another process \\(pid ${String(process.pid)}\\)`));
    await first.commit([only(put('a', '1'))]);
    await first.close();
    expect(openCode()).toBe('opened');
  });

  it('tells what is no store from one that lost its end, and touches neither', async () => {
    await fill();
    const whole = readFileSync(file());
    const damaged: readonly (readonly [string, Buffer])[] = [
      ['not a store', Buffer.alloc(100_000, 7)],
      ['not a store', Buffer.from('hello')],
      ['not a store', whole.subarray(0, 4_100)],
      ['its end is missing', whole.subarray(0, 9_000)],
      ['its end is missing', whole.subarray(0, whole.length >> 1)],
    ];
    for (const [why, bytes] of damaged) {
      writeFileSync(file(), bytes);
      expect(openCode(), String(bytes.length)).toMatch(new RegExp(`^corrupt: .*${why}.*Put back a copy`));
      expect(readFileSync(file()).equals(bytes)).toBe(true);
    }
    writeFileSync(file(), whole);
    expect(openCode()).toBe('opened');
  });

  /** ext4 finds out at other moments than memory: it allocates late, keeps a journal, and holds blocks back. */
  const mounts: Readonly<Record<string, (mounted: string) => string>> = {
    tmpfs: (mounted) => `mount -t tmpfs -o size=3m ft-store ${mounted}`,
    'ext4 in a loop file': (mounted) =>
      `truncate -s 8M ${mounted}.img && mkfs.ext4 -q ${mounted}.img && mount -o loop ${mounted}.img ${mounted}`,
  };
  it.skipIf(process.getuid?.() !== 0).each(Object.keys(mounts))(
    'says that the disk is full, writes nothing, and goes on when there is room: %s',
    async (filesystem) => {
      const mounted = join(folder, 'small');
      mkdirSync(mounted);
      const made = spawnSync('sh', ['-c', mounts[filesystem]?.(mounted) ?? ''], { encoding: 'utf8' });
      expect(made.status, made.stderr).toBe(0);
      let store = openEmbeddedStore(mounted);
      try {
        await store.commit([only(put('kept', '1'))]);
        const large = 'x'.repeat(1_000_000);
        let failure: unknown;
        let written = 0;
        for (; written < 10 && failure === undefined; written += 1) {
          const calls = [
            store.commit([only(put(`large${String(written)}`, large))]),
            store.commit([only(put(`small`, String(written)))]),
          ];
          const [outcome, small] = await Promise.allSettled(calls);
          expect(small?.status).toBe('fulfilled');
          if (outcome?.status === 'rejected') failure = outcome.reason;
        }
        expect(failure).toMatchObject({ code: 'exhausted' });
        const { entries } = await store.range('');
        expect(entries.map(({ key }) => key)).toEqual([
          'kept',
          ...Array.from({ length: written - 1 }, (_, n) => `large${String(n)}`),
          'small',
        ]);
        // What was there before it was full is there after a restart, too.
        await store.close();
        store = openEmbeddedStore(mounted);
        expect(digests((await store.range('')).entries)).toEqual(digests(entries));
        await store.commit([only(remove('large0'))]);
        // LMDB reuses pages only once no reader and neither of its two last states can need them.
        for (let n = 0; n < 3; n += 1) await store.commit([only(put('small', `after ${String(n)}`))]);
        await store.commit([only(put('again', large))]);
      } finally {
        await store.close();
        expect(spawnSync('umount', [mounted]).status).toBe(0);
      }
    },
  );
});
