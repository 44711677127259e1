/** The agent is killed in the midst of a pull: nothing of it runs on, and the sweep at the next start removes what it left. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createImages } from '../../../agent/images/create-images.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { writeImage } from '../../builders/oci-image.ts';
import { startRegistry } from '../../builders/registry.ts';
import type { Registry } from '../../builders/registry.ts';

let dir: string;
let registry: Registry;
let image: { reference: string; digest: string };
let program: string;
/** Large enough to be caught at work. */
const contentSize = 60_000_000;
const content = randomBytes(contentSize);
const waitMs = 20_000;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ft-power-cut-'));
  registry = await startRegistry();
  const entries = [{ type: 'file', path: 'big', content }] as const;
  const built = await writeImage(join(dir, 'layout'), { layers: [{ entries }] });
  image = { reference: `${registry.host}/big:1`, digest: await registry.push(built.dir, 'big:1') };
  program = join(dir, 'puller.cjs');
  await writeFile(
    join(dir, 'puller.ts'),
    `import { createImages } from ${JSON.stringify(join(import.meta.dirname, '../../../agent/images/create-images.ts'))};
     import { silentLogger } from ${JSON.stringify(join(import.meta.dirname, '../../../proto/base/log.ts'))};
     const [dataDir, reference, digest] = process.argv.slice(2);
     void createImages({ dataDir, logger: silentLogger }).then((images) =>
       images.ensure({ reference, digest }, { signal: new AbortController().signal }),
     );`,
  );
  await build({
    entryPoints: [join(dir, 'puller.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'cjs',
  });
});
afterAll(async () => {
  await registry.stop();
  await rm(dir, { recursive: true, force: true });
});

test.each(['ingest', 'staging'] as const)('killed while something is in %s/', async (stage) => {
  const dataDir = await mkdtemp(join(dir, 'data-'));
  const puller = spawn(process.execPath, [program, dataDir, image.reference, image.digest], { stdio: 'inherit' });
  const work = join(dataDir, 'images', stage);
  await until(async () => (await filesIn(work)).length > 0, puller);
  puller.kill('SIGKILL');
  await once(puller, 'exit');
  await until(async () => (await processesIn(dataDir)).length === 0);
  expect(await filesIn(work)).not.toEqual([]);
  const images = await createImages({ dataDir, logger: silentLogger });
  await images.sweep();
  expect(await filesIn(join(dataDir, 'images'))).toEqual([]);
  const pulled = await images.ensure(image, { signal: new AbortController().signal });
  expect((await readFile(join(pulled.lowerDirs[0] ?? '', 'big'))).equals(content)).toBe(true);
  await images.close();
  await rm(dataDir, { recursive: true });
});

async function until(isSo: () => Promise<boolean>, running?: ChildProcess): Promise<void> {
  const deadline = performance.now() + waitMs;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error('it did not come to pass in time');
    if (running !== undefined && running.exitCode !== null) throw new Error('the program ended before');
    await sleep(2);
  }
}

async function filesIn(folder: string): Promise<readonly string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return found.filter((each) => !each.isDirectory()).map((each) => join(each.parentPath, each.name));
}

/** Command lines of processes that name `folder`, the sandboxed ones among them. */
async function processesIn(folder: string): Promise<readonly string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(folder));
}
