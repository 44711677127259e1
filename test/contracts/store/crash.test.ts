/** A process that writes to its store is killed again and again: nothing acknowledged is lost, nothing is torn. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openEmbeddedStore } from '../../../controller/store/embedded/embedded-store.ts';
import { openEtcdStore } from '../../../controller/store/etcd/etcd-store.ts';
import type { Store } from '../../../controller/store/store.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { startEtcd } from '../../builders/etcd.ts';
import { chooseSeed, seededRandom } from '../../builders/seed.ts';
import { valueText } from './store-contract.ts';

const rounds = 25;
/** After the first acknowledged write of a round the kill comes within this long. */
const longestWritingMs = 200;
const timeoutMs = 180_000;

/** Beside the tests: it finds the packages from there. */
const script = join(import.meta.dirname, `.writer-${String(process.pid)}.mjs`);
beforeAll(async () => {
  await build({
    entryPoints: [join(import.meta.dirname, 'writer.ts')],
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'error',
  });
});
afterAll(() => {
  rmSync(script, { force: true });
});

describe('SIGKILL while writing', { timeout: timeoutMs }, () => {
  it('embedded: loses nothing acknowledged and tears nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ft-store-'));
    try {
      await killRounds('embedded', folder, () => openEmbeddedStore(folder));
      expect(readdirSync(folder).sort()).toEqual(['store.lmdb', 'store.lmdb-lock', 'store.lock']);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('etcd: loses nothing acknowledged and tears nothing', async () => {
    const etcd = await startEtcd();
    const endpoints = { secure: false, addresses: [etcd.address] };
    try {
      await killRounds('etcd', etcd.address, () => openEtcdStore({ endpoints, logger: silentLogger }));
    } finally {
      await etcd.stop();
    }
  });
});

async function killRounds(kind: string, place: string, open: () => Store | Promise<Store>): Promise<void> {
  const seed = chooseSeed();
  const random = seededRandom(seed);
  const found = new Map<number, number>();
  let start = 0;
  for (let round = 0; round < rounds; round += 1) {
    const startOfRound = start;
    const acknowledged = await killWhileWriting([kind, place, String(start)], random() * longestWritingMs);
    const store = await open();
    const entries = new Map((await store.range('')).entries.map(({ key, value }) => [key, valueText(value)]));
    await store.close();
    for (let writer = 0; writer < 4; writer += 1) {
      const where = `writer ${String(writer)} in round ${String(round)} with FROTA_SEED=${String(seed)}`;
      const left = entries.get(`left/${String(writer)}`);
      // The first round may end before all four have written.
      if (round === 0 && left === undefined && !acknowledged.has(writer)) continue;
      expect(left, where).toBeDefined();
      expect(entries.get(`right/${String(writer)}`), where).toBe(left);
      const [id, n] = (left ?? '').replace(/\.+$/, '').split(':');
      expect(Number(id), where).toBe(writer);
      // The last one may have been written without having been acknowledged, as may the round's first and only one.
      const known = acknowledged.get(writer);
      const possible = known === undefined ? [found.get(writer), startOfRound] : [known, known + 1];
      expect(possible, where).toContain(Number(n));
      found.set(writer, Number(n));
      expect(entries.get(`log/${String(writer)}/${String(Number(n) % 50)}`), where).toBe(left);
      start = Math.max(start, Number(n) + 1);
    }
  }
}

/** @returns by writer, the last number it was told to be durable. */
function killWhileWriting(args: readonly string[], afterMs: number): Promise<Map<number, number>> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
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
