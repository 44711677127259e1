import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEmbeddedStore } from '../../../controller/store/embedded/embedded-store.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { collect, describeStore, only, put, remove, valueText } from './store-contract.ts';

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

  it.skipIf(process.getuid?.() !== 0)(
    'says that the disk is full, writes nothing, and goes on when there is room',
    async () => {
      const mounted = join(folder, 'small');
      mkdirSync(mounted);
      expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'ft-store', mounted]).status).toBe(0);
      const store = openEmbeddedStore(mounted);
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

  it('loses nothing acknowledged and tears nothing under SIGKILL', { timeout: 60_000 }, async () => {
    const script = join(import.meta.dirname, `.writer-${String(process.pid)}.mjs`);
    await build({
      entryPoints: [join(import.meta.dirname, 'writer.ts')],
      outfile: script,
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
      logLevel: 'error',
    });
    try {
      let start = 0;
      for (let round = 0; round < 5; round += 1) {
        const acknowledged = await killWhileWriting(script, folder, start, 80 + round * 60);
        const store = openEmbeddedStore(folder);
        const entries = new Map((await store.range('')).entries.map(({ key, value }) => [key, valueText(value)]));
        await store.close();
        for (let writer = 0; writer < 4; writer += 1) {
          const left = entries.get(`left/${String(writer)}`);
          expect(left).toBeDefined();
          expect(entries.get(`right/${String(writer)}`)).toBe(left);
          const [id, n] = (left ?? '').replace(/\.+$/, '').split(':');
          expect(Number(id)).toBe(writer);
          // The last one may have been written without having been acknowledged.
          const known = acknowledged.get(writer) ?? start;
          expect(Number(n)).toBeGreaterThanOrEqual(known);
          expect(Number(n)).toBeLessThanOrEqual(known + 1);
          expect(entries.get(`log/${String(writer)}/${String(Number(n) % 50)}`)).toBe(left);
          start = Math.max(start, Number(n) + 1);
        }
      }
      expect(readdirSync(folder).sort()).toEqual(['store.lmdb', 'store.lmdb-lock', 'store.lock']);
    } finally {
      rmSync(script, { force: true });
    }
    expect(existsSync(script)).toBe(false);
  });
});

/** @returns by writer, the last number it was told to be durable. */
function killWhileWriting(
  script: string,
  folder: string,
  start: number,
  afterMs: number,
): Promise<Map<number, number>> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, folder, String(start)], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    let timer: NodeJS.Timeout | undefined;
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      timer ??= setTimeout(() => child.kill('SIGKILL'), afterMs);
    });
    child.on('error', reject);
    child.on('close', (_code, signal) => {
      if (signal !== 'SIGKILL') reject(new Error(`the writer ended by itself: ${output.slice(-200)}`));
      const last = new Map<number, number>();
      for (const line of output.slice(0, output.lastIndexOf('\n')).split('\n')) {
        const [writer, n] = line.split(':');
        last.set(Number(writer), Number(n));
      }
      resolve(last);
    });
  });
}
