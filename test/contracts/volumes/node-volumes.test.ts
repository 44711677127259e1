/** Volumes on a real file system, from real image layers, through crashes and a full disk. */
import { execFileSync, spawn } from 'node:child_process';
import { chmod, chown, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'; // prettier-ignore
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mountsBelow } from '../../../agent/host/mounts.ts';
import type { Image } from '../../../agent/images/images.ts';
import { createNodeVolumes } from '../../../agent/volumes/node-volumes.ts';
import type { Volumes } from '../../../agent/volumes/ports.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import type { Mount } from '../../../proto/domain/mount.ts';
import { aTemplate } from '../../builders/domain.ts';
import { assignedTask } from '../../fakes/agent-ports.ts';

type VolumeMount = Extract<Mount, { kind: 'volume' }>;
const never = new AbortController().signal;

let folder: string;
let dataDir: string;
let runDir: string;
let layers: readonly string[];
let volumes: Volumes;

const open = (): Volumes => createNodeVolumes({ dataDir, runDir, nodeName: 'n1', logger: silentLogger });
const image = (paths: readonly string[] = []): Image => ({
  manifestDigest: '',
  config: { entrypoint: [], command: [], environment: [], workingDir: '', user: '', volumes: paths },
  lowerDirs: layers,
});
const volume = (over: Partial<VolumeMount> = {}): VolumeMount => ({
  kind: 'volume',
  volume: 'shop_db',
  target: '/data',
  readOnly: false,
  noCopy: false,
  ...over,
});
const task = (id: string, ...mounts: readonly Mount[]) => assignedTask(id, { template: aTemplate({ mounts }) });
const sourceOf = async (mount: Mount, id = 'a', of = image()): Promise<string> => {
  const { mounts, settle } = await volumes.prepare(task(id, mount), of, never);
  await settle();
  const [made] = mounts;
  return made?.kind === 'bind' ? made.source : '';
};
const failureOf = async (work: Promise<unknown>): Promise<FrotaError> => {
  const thrown: unknown = await work.then(() => undefined, (error: unknown) => error); // prettier-ignore
  if (!(thrown instanceof FrotaError)) throw new Error(`expected a FrotaError, got ${String(thrown)}`);
  return thrown;
};
/** Python has the system calls, and no program for them is installed by default. */
const python = (code: string, ...args: readonly string[]): string =>
  execFileSync('python3', ['-c', `import os,sys; ${code}`, ...args], { encoding: 'utf8' }).trim();
const setAttribute = (path: string, name: string, value: string): string =>
  python('os.setxattr(sys.argv[1], sys.argv[2], sys.argv[3].encode())', path, name, value);
const attributeOf = (path: string, name: string): string =>
  python('print(os.getxattr(sys.argv[1], sys.argv[2]).decode())', path, name);

/** What a folder holds: paths with type, mode, owner and content. */
function listing(path: string): readonly string[] {
  const out = execFileSync('find', ['.', '-printf', '%P %y %m %U:%G %l\n'], { cwd: path, encoding: 'utf8' });
  return out.trim().split('\n').map((line) => line.trim()).sort(); // prettier-ignore
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ft-volumes-'));
  [dataDir, runDir] = [join(folder, 'agent'), join(folder, 'run')];
  layers = [join(dataDir, 'images/snapshots/upper'), join(dataDir, 'images/snapshots/lower')];
  const [upper = '', lower = ''] = layers;
  await mkdir(join(lower, 'data/sub'), { recursive: true });
  await mkdir(join(upper, 'data'), { recursive: true });
  await mkdir(runDir);
  await writeFile(join(lower, 'data/seed'), 'from the image');
  await writeFile(join(lower, 'data/hidden'), 'the upper layer removes it');
  execFileSync('mknod', [join(upper, 'data/hidden'), 'c', '0', '0']);
  await writeFile(join(lower, 'data/sub/tool'), '');
  await chmod(join(lower, 'data/sub/tool'), 0o4755);
  await symlink('/etc/shadow', join(lower, 'data/link'));
  setAttribute(join(lower, 'data/seed'), 'user.boat', 'sail');
  for (const each of layers) await chown(join(each, 'data'), 999, 998);
  for (const each of layers) await chmod(join(each, 'data'), 0o2770);
  volumes = open();
});
afterEach(async () => {
  expect(await mountsBelow(folder)).toEqual([]);
  await rm(folder, { recursive: true, force: true });
});

describe('a named volume', () => {
  it('begins with what the image has, once, and keeps what containers make of it', async () => {
    const source = await sourceOf(volume());
    expect(source).toBe(join(dataDir, 'volumes/shop_db/_data'));
    expect(listing(source)).toEqual([
      'd 2770 999:998', 'link l 777 0:0 /etc/shadow', 'seed f 644 0:0', 'sub d 755 0:0', 'sub/tool f 4755 0:0',
    ]); // prettier-ignore
    expect(attributeOf(join(source, 'seed'), 'user.boat')).toBe('sail');
    await rm(join(source, 'seed'));
    await writeFile(join(source, 'sub/mine'), 'kept');
    volumes = open();
    await volumes.sweep();
    expect(await sourceOf(volume(), 'b')).toBe(source);
    await volumes.remove('a');
    await volumes.remove('b');
    expect((await readdir(source)).sort()).toEqual(['link', 'sub']);
    expect(await readFile(join(source, 'sub/mine'), 'utf8')).toBe('kept');
    expect((await stat(join(dataDir, 'volumes'))).mode & 0o777).toBe(0o700);
  });

  it('begins empty with noCopy, and where the image has nothing', async () => {
    expect(listing(await sourceOf(volume({ noCopy: true })))).toEqual(['d 755 0:0']);
    expect(listing(await sourceOf(volume({ volume: 'v2', target: '/nowhere/at/all' })))).toEqual(['d 755 0:0']);
  });

  it('is made once for two tasks that want it at the same time', async () => {
    const sources = await Promise.all(['a', 'b', 'c'].map((id) => sourceOf(volume(), id)));
    expect(new Set(sources).size).toBe(1);
    expect(await readdir(join(dataDir, 'volumes'))).toEqual(['shop_db']);
  });

  it('is not made of a file, nor of what lies outside of the image', async () => {
    const [upper = ''] = layers;
    const failure = await failureOf(sourceOf(volume({ target: '/data/seed' })));
    expect(failure).toMatchObject({ code: 'invalid' });
    expect(failure.message).toMatch(/^node n1, service app\/web, mount at \/data\/seed: the image has a file at/);
    await symlink('../../../../../../../../../etc', join(upper, 'away'));
    expect(listing(await sourceOf(volume({ target: '/away' })))).toEqual(['d 755 0:0']);
    expect(await failureOf(sourceOf(volume({ volume: '../x' })))).toMatchObject({ code: 'invalid' });
  });

  it('leaves nothing behind when its task is withdrawn meanwhile', async () => {
    execFileSync('dd', ['if=/dev/zero', `of=${join(layers[1] ?? '', 'data/large')}`, 'bs=1M', 'count=64', 'status=none']); // prettier-ignore
    const abort = new AbortController();
    const prepared = volumes.prepare(task('a', volume()), image(), abort.signal);
    const outcome = failureOf(prepared);
    await sleep(15);
    abort.abort();
    expect((await outcome).code).toBe('cancelled');
    expect(await readdir(join(dataDir, 'volumes'))).toEqual([]);
  });

  it('is whole or not there after a kill at any moment', { timeout: 120_000 }, async () => {
    const [, lower = ''] = layers;
    for (let index = 0; index < 200; index += 1) await writeFile(join(lower, `data/f${String(index)}`), 'x'.repeat(5_000)); // prettier-ignore
    const bundle = join(import.meta.dirname, '../../../node_modules/.cache', `ft-volumes-${String(process.pid)}.mjs`);
    const entryPoints = [join(import.meta.dirname, 'copying-agent.ts')];
    await build({ entryPoints, outfile: bundle, bundle: true, platform: 'node', format: 'esm', packages: 'external' });
    const count = 203;
    let next = 0;
    try {
      for (let round = 0; round < 12; round += 1) {
        const args = [bundle, JSON.stringify({ dataDir, runDir }), JSON.stringify(image()), String(next)];
        const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
        await once(child.stdout, 'data');
        await sleep(10 + 100 * round);
        child.kill('SIGKILL');
        await once(child, 'exit');
        // What the dead agent started ends by itself or with the sweep.
        await sleep(50);
        volumes = open();
        await volumes.sweep();
        const names = await readdir(join(dataDir, 'volumes')).catch(() => []);
        for (const name of names) expect((await readdir(join(dataDir, 'volumes', name, '_data'))).length, name).toBe(count); // prettier-ignore
        expect(names.every((name) => name.startsWith('v'))).toBe(true);
        expect(await mountsBelow(folder)).toEqual([]);
        next = names.length + round * 1_000;
      }
    } finally {
      await rm(bundle, { force: true });
    }
    expect((await readdir(join(dataDir, 'volumes'))).length).toBeGreaterThan(0);
  });

  it('tells a full disk, and takes nothing of it', async () => {
    execFileSync('dd', ['if=/dev/zero', `of=${join(layers[1] ?? '', 'data/large')}`, 'bs=1M', 'count=3', 'status=none']); // prettier-ignore
    const small = join(dataDir, 'volumes');
    await mkdir(small, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'ft-small', small]);
    try {
      const failure = await failureOf(sourceOf(volume()));
      expect(failure.code).toBe('exhausted');
      expect(failure.message).toMatch(/service app\/web, mount at \/data: the disk is full/);
      expect(await readdir(small)).toEqual([]);
    } finally {
      execFileSync('umount', [small]);
    }
  });
});

describe('an anonymous volume', () => {
  it('is the task’s own, for what it mounts and for what the image declares, and goes with it', async () => {
    const own = { kind: 'volume', target: '/own', readOnly: false, noCopy: false } as const;
    const declared = image(['/data/', '/cache', '/own', '/named']);
    const given = task('a', own, volume({ target: '/named' }));
    const { mounts } = await volumes.prepare(given, declared, never);
    expect(mounts.map(({ target }) => target)).toEqual(['/own', '/named', '/data', '/cache']);
    const other = await volumes.prepare(task('b'), declared, never);
    const sources = [...mounts, ...other.mounts].flatMap((mount) => (mount.kind === 'bind' ? [mount.source] : []));
    expect(new Set(sources).size).toBe(8);
    expect((await readdir(sources[2] ?? '')).sort()).toEqual(['link', 'seed', 'sub']);
    await writeFile(join(sources[2] ?? '', 'seed'), 'changed');
    expect((await volumes.prepare(given, declared, never)).mounts).toEqual(mounts);
    expect(await readFile(join(sources[2] ?? '', 'seed'), 'utf8')).toBe('changed');
    expect((await open().list()).toSorted()).toEqual(['a', 'b']);
    await volumes.remove('a');
    expect(await volumes.list()).toEqual(['b']);
    expect((await lstat(join(dataDir, 'volumes/shop_db/_data'))).isDirectory()).toBe(true);
    await volumes.remove('b');
    await volumes.remove('b');
    const many = image(Array.from({ length: 65 }, (_, at) => `/v${String(at)}`));
    expect(await failureOf(volumes.prepare(task('c'), many, never))).toMatchObject({ code: 'exhausted' });
  });
});

describe('a folder of the node', () => {
  const bind = (source: string, createSource = false): Mount => ({ kind: 'bind', source, target: '/host', readOnly: true, createSource }); // prettier-ignore

  it('must be there, or is made where the file asks for it', async () => {
    const path = join(folder, 'srv/site');
    const failure = await failureOf(sourceOf(bind(path)));
    expect(failure.code).toBe('not-found');
    expect(failure.message).toBe(`node n1, service app/web, mount at /host: ${path} does not exist on this node; make it there first`); // prettier-ignore
    expect(await sourceOf(bind(path, true))).toBe(path);
    expect((await stat(path)).mode & 0o7777).toBe(0o755);
    expect(await sourceOf(bind(path))).toBe(path);
    await writeFile(join(path, 'file'), '');
    expect(await sourceOf(bind(join(path, 'file')))).toBe(join(path, 'file'));
    expect(await failureOf(sourceOf(bind(join(path, 'file/below'), true)))).toMatchObject({ code: 'unavailable' });
  });
});

describe('memory', () => {
  it('has Docker’s mode unless another is asked for', async () => {
    const tmpfs = { kind: 'tmpfs', target: '/t', readOnly: false } as const;
    const { mounts } = await volumes.prepare(task('a', tmpfs, { ...tmpfs, target: '/u', mode: 0o700, sizeBytes: 4_096 }), image(), never); // prettier-ignore
    expect(mounts).toEqual([
      { ...tmpfs, mode: 0o1777 },
      { ...tmpfs, target: '/u', mode: 0o700, sizeBytes: 4_096 },
    ]);
  });
});

describe('a subpath', () => {
  const within = (subpath: string): Mount => volume({ subpath });
  const held = async (subpath: string, id = 'a') => {
    const { mounts, settle } = await volumes.prepare(task(id, within(subpath)), image(), never);
    const [made] = mounts;
    return { source: made?.kind === 'bind' ? made.source : '', settle };
  };
  let data: string;
  beforeEach(async () => {
    data = await sourceOf(volume());
    await mkdir(join(data, 'one/two'), { recursive: true });
    await writeFile(join(data, 'one/two/inside'), 'inside');
  });

  it('is a folder or file of the volume, held until the container is made', async () => {
    const { source, settle } = await held('one/./two/');
    expect(await readFile(join(source, 'inside'), 'utf8')).toBe('inside');
    expect(await mountsBelow(runDir)).toEqual([source]);
    await settle();
    expect(await readdir(runDir)).toEqual(['subpaths']);
    const file = await held('one/two/inside', 'b');
    expect(await readFile(file.source, 'utf8')).toBe('inside');
    await file.settle();
    expect(await mountsBelow(runDir)).toEqual([]);
  });

  it('never leads out, whatever lies there', async () => {
    await writeFile(join(folder, 'outside'), 'not the volume’s');
    await symlink(folder, join(data, 'one/out'));
    await symlink('two', join(data, 'one/alias'));
    for (const path of ['one/out', 'one/out/outside', 'one/alias', '../shop_db/_data', 'one/../one', 'link']) {
      const failure = await failureOf(held(path));
      expect([path, failure.code]).toEqual([path, 'invalid']);
    }
    expect((await failureOf(held('one/none'))).message).toContain('subpath "one/none" is not there; make it first');
    expect((await failureOf(held('one/two/inside/x'))).code).toBe('not-found');
    expect(await mountsBelow(runDir)).toEqual([]);
  });

  it('stays what it was when somebody who shares the volume changes the path', async () => {
    const { source, settle } = await held('one/two');
    await rename(join(data, 'one'), join(data, 'moved'));
    await symlink('/etc', join(data, 'one'));
    expect(await readdir(source)).toEqual(['inside']);
    await settle();
  });

  it('is let go by the next start when the agent died in between', async () => {
    await held('one/two');
    await open().sweep();
    expect(await mountsBelow(runDir)).toEqual([]);
    expect(await readFile(join(data, 'one/two/inside'), 'utf8')).toBe('inside');
  });
});
