/** The images port against a real registry: what a good image becomes. Needs root (ownership, devices, overlay mounts). */
import { execFile } from 'node:child_process';
import { lstat, mkdir, mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createImages } from '../../../agent/images/create-images.ts';
import type { Image, PullProgress } from '../../../agent/images/images.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { foreignPlatform, writeImage, writeMultiPlatformImage } from '../../builders/oci-image.ts';
import type { ImageSource, LayerEntry } from '../../builders/oci-image.ts';
import { startRegistry } from '../../builders/registry.ts';
import type { Registry } from '../../builders/registry.ts';

let dir: string;
let dataDir: string;
let registry: Registry;
let images: Awaited<ReturnType<typeof createImages>>;
let mounted: string[] = [];
const never = new AbortController().signal;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ft-images-'));
  registry = await startRegistry();
});
afterAll(async () => {
  await registry.stop();
  await rm(dir, { recursive: true, force: true });
});
beforeEach(async () => {
  dataDir = await mkdtemp(join(dir, 'data-'));
  images = await createImages({ dataDir, logger: silentLogger });
});
afterEach(async () => {
  for (const target of mounted) await promisify(execFile)('umount', [target]);
  mounted = [];
  await images.close();
});

const file = (path: string, content = path, more: Partial<LayerEntry> = {}): LayerEntry =>
  ({ type: 'file', path, content, ...more }) as LayerEntry;
const folder = (path: string, more: Partial<LayerEntry> = {}): LayerEntry =>
  ({ type: 'directory', path, ...more }) as LayerEntry;

async function pushed(name: string, source: ImageSource): Promise<{ reference: string; digest: string }> {
  const built = await writeImage(await mkdtemp(join(dir, 'layout-')), source);
  return { reference: `${registry.host}/${name}`, digest: await registry.push(built.dir, name) };
}

/** Mounts as the runtime does: relative names, from the folder that holds them all. */
async function mountOf(image: Image): Promise<string> {
  const target = await mkdtemp(join(dir, 'mnt-'));
  const work = await mkdtemp(join(dir, 'rw-'));
  for (const each of ['upper', 'work']) await mkdir(join(work, each));
  const lower = image.lowerDirs.map((each) => basename(each)).join(':');
  const options = `lowerdir=${lower},upperdir=${work}/upper,workdir=${work}/work`;
  await promisify(execFile)('mount', ['-t', 'overlay', 'ft-images', '-o', options, target], {
    cwd: dirname(image.lowerDirs[0] ?? '/'),
  });
  mounted.push(target);
  return target;
}

/** `dir` below the data folder's images, all levels, files only. */
async function leftIn(...parts: readonly string[]): Promise<readonly string[]> {
  return readdir(join(dataDir, 'images', ...parts));
}

describe('a pulled image', () => {
  test('three layers with whiteouts, opaque folders, hard links, owners, modes and attributes', async () => {
    const capability = '\x01\0\0\x02\0\x04\0\0' + '\0'.repeat(12);
    const image = await pushed('three:1', {
      config: {
        entrypoint: ['/bin/app'],
        command: ['--fast'],
        environment: ['A=1'],
        workingDir: '/srv',
        user: '1000:1000',
        stopSignal: 'SIGINT',
      },
      layers: [
        {
          entries: [
            folder('etc'),
            file('etc/removed'),
            file('etc/kept', 'old'),
            folder('opaque', { mode: 0o755 }),
            file('opaque/old'),
            folder('gone'),
            file('gone/deep'),
            folder('tmp', { mode: 0o1777 }),
          ],
        },
        {
          entries: [
            { type: 'whiteout', path: 'etc/removed' },
            folder('etc', { mode: 0o750, uid: 5, gid: 6 }),
            file('etc/kept', 'new', { mode: 0o640, uid: 1000, gid: 1001, mtimeMs: 1_600_000_000_000 }),
            folder('opaque', { mode: 0o711, uid: 7, gid: 8, mtimeMs: 1_500_000_000_000 }),
            { type: 'opaque', path: 'opaque' },
            file('opaque/new'),
            { type: 'whiteout', path: 'gone' },
          ],
        },
        {
          entries: [
            folder('bin'),
            file('bin/app', 'program', {
              mode: 0o4755,
              xattrs: { 'security.capability': capability, 'user.note': 'é' },
            }),
            { type: 'hardlink', path: 'bin/same', target: 'bin/app' },
            { type: 'symlink', path: 'bin/link', target: '/etc/kept' },
            { type: 'fifo', path: 'bin/fifo', mode: 0o600 },
            { type: 'character-device', path: 'bin/null', major: 1, minor: 3, mode: 0o666 },
            file(`bin/${'long-name-'.repeat(20)}ü`, 'long'),
          ],
        },
      ],
    });
    const pulled = await images.ensure(image, { signal: never });
    expect(pulled.config).toEqual({
      entrypoint: ['/bin/app'],
      command: ['--fast'],
      environment: ['A=1'],
      workingDir: '/srv',
      user: '1000:1000',
      stopSignal: 'SIGINT',
    });
    expect(pulled.manifestDigest).toBe(image.digest);
    expect(pulled.lowerDirs).toHaveLength(3);
    const root = await mountOf(pulled);
    expect((await readdir(root)).sort()).toEqual(['bin', 'etc', 'opaque', 'tmp']);
    expect(await readdir(join(root, 'etc'))).toEqual(['kept']);
    expect(await readdir(join(root, 'opaque'))).toEqual(['new']);
    expect(await readFile(join(root, 'etc/kept'), 'utf8')).toBe('new');
    expect(await lstat(join(root, 'etc'))).toMatchObject({ uid: 5, gid: 6, mode: 0o40750 });
    expect(await lstat(join(root, 'etc/kept'))).toMatchObject({
      uid: 1000,
      gid: 1001,
      mode: 0o100640,
      mtimeMs: 1_600_000_000_000,
    });
    expect(await lstat(join(root, 'opaque'))).toMatchObject({
      uid: 7,
      gid: 8,
      mode: 0o40711,
      mtimeMs: 1_500_000_000_000,
    });
    expect((await lstat(join(root, 'tmp'))).mode).toBe(0o41777);
    const app = await lstat(join(root, 'bin/app'));
    expect(app.mode).toBe(0o104755);
    expect((await lstat(join(root, 'bin/same'))).ino).toBe(app.ino);
    expect((await lstat(join(root, 'bin/fifo'))).isFIFO()).toBe(true);
    expect(await lstat(join(root, 'bin/null'))).toMatchObject({ rdev: 0x103 });
    expect(await readFile(join(root, `bin/${'long-name-'.repeat(20)}ü`), 'utf8')).toBe('long');
    const { stdout } = await promisify(execFile)('getcap', [join(root, 'bin/app')], {
      env: { PATH: '/usr/sbin:/usr/bin' },
    });
    expect(stdout).toContain('cap_net_bind_service=ep');
    const xattr = `import os,sys; print(os.getxattr(sys.argv[1], 'user.note').decode())`;
    expect((await promisify(execFile)('python3', ['-c', xattr, join(root, 'bin/app')])).stdout.trim()).toBe('é');
  });

  test('whiteouts never hide their own layer, whatever the order', async () => {
    const image = await pushed('own:1', {
      layers: [
        { entries: [file('a', 'old'), file('b', 'old'), folder('d'), file('d/old'), folder('e'), file('e/old')] },
        {
          entries: [
            file('a', 'new'),
            { type: 'whiteout', path: 'a' },
            { type: 'whiteout', path: 'b' },
            file('b', 'new'),
            folder('d', { mode: 0o700 }),
            file('d/new'),
            { type: 'whiteout', path: 'd' },
            // No entry for `e` itself, which is replaced nevertheless.
            { type: 'whiteout', path: 'e' },
            file('e/new'),
          ],
        },
      ],
    });
    const root = await mountOf(await images.ensure(image, { signal: never }));
    expect(await readFile(join(root, 'a'), 'utf8')).toBe('new');
    expect(await readFile(join(root, 'b'), 'utf8')).toBe('new');
    expect(await readdir(join(root, 'd'))).toEqual(['new']);
    expect((await lstat(join(root, 'd'))).mode).toBe(0o40700);
    expect(await readdir(join(root, 'e'))).toEqual(['new']);
  });

  test('a layer without its parents leaves their owner and mode as they are below', async () => {
    const image = await pushed('parents:1', {
      layers: [
        {
          entries: [
            folder('tmp', { mode: 0o1777 }),
            folder('home'),
            folder('home/me', { mode: 0o700, uid: 1000, gid: 1000 }),
          ],
        },
        { entries: [file('tmp/x'), file('home/me/x'), file('new/x'), { type: 'whiteout', path: 'home/other' }] },
        { entries: [file('tmp/y')] },
      ],
    });
    const pulled = await images.ensure(image, { signal: never });
    const root = await mountOf(pulled);
    expect((await lstat(join(root, 'tmp'))).mode).toBe(0o41777);
    expect(await lstat(join(root, 'home/me'))).toMatchObject({ mode: 0o40700, uid: 1000, gid: 1000 });
    expect((await lstat(join(root, 'new'))).mode).toBe(0o40755);
    expect(await readdir(join(root, 'tmp'))).toEqual(['x', 'y']);
    expect(await leftIn('staging')).toEqual([]);
    expect((await images.ensure(image, { signal: never })).lowerDirs).toEqual(pulled.lowerDirs);
  });

  test.each(['gzip', 'zstd', 'none'] as const)('compression %s', async (compression) => {
    const content = Buffer.alloc(3_000_000, compression);
    const image = await pushed(`compression:${compression}`, {
      layers: [{ compression, entries: [{ type: 'file', path: 'a', content }] }],
    });
    const pulled = await images.ensure(image, { signal: never });
    expect((await readFile(join(pulled.lowerDirs[0] ?? '', 'a'))).equals(content)).toBe(true);
  });

  test('gzip without igzip, and Docker media types', async () => {
    await images.close();
    images = await createImages({ dataDir, logger: silentLogger, programs: { igzip: '/nonexistent/igzip' } });
    const built = await writeImage(await mkdtemp(join(dir, 'layout-')), { layers: [{ entries: [file('a')] }] });
    const digest = await registry.push(built.dir, 'docker:1', { docker: true });
    expect(digest).not.toBe(built.manifest.digest);
    const pulled = await images.ensure({ reference: `${registry.host}/docker:1`, digest }, { signal: never });
    expect(await readFile(join(pulled.lowerDirs[0] ?? '', 'a'), 'utf8')).toBe('a');
  });

  test('the image of an index that fits this machine', async () => {
    const layers = (content: string): ImageSource['layers'] => [{ entries: [file('a', content)] }];
    const built = await writeMultiPlatformImage(await mkdtemp(join(dir, 'layout-')), [
      { layers: layers('theirs'), platform: foreignPlatform() },
      { layers: layers('ours') },
    ]);
    const digest = await registry.push(built.dir, 'index:1');
    const pulled = await images.ensure({ reference: `${registry.host}/index:1`, digest }, { signal: never });
    expect(pulled.manifestDigest).toBe(built.images[1]?.manifest.digest);
    expect(await readFile(join(pulled.lowerDirs[0] ?? '', 'a'), 'utf8')).toBe('ours');
  });

  test('the same layer twice is mounted once, at its upper place', async () => {
    const entries = [file('a', 'first')];
    const image = await pushed('twice:1', {
      layers: [{ entries }, { entries: [{ type: 'whiteout', path: 'a' }] }, { entries }],
    });
    const pulled = await images.ensure(image, { signal: never });
    expect(pulled.lowerDirs).toHaveLength(2);
    expect(await readFile(join(await mountOf(pulled), 'a'), 'utf8')).toBe('first');
  });

  test('127 layers can be mounted', async () => {
    const layers = Array.from({ length: 127 }, (_none, index) => ({ entries: [file(`f${String(index)}`)] }));
    const image = await pushed('deep:1', { layers });
    const root = await mountOf(await images.ensure(image, { signal: never }));
    expect(await readdir(root)).toHaveLength(127);
  }, 120_000);
});

describe('what is present', () => {
  test('answers without the registry, also after a restart; layer blobs are gone, documents stay', async () => {
    const own = await startRegistry();
    const built = await writeImage(await mkdtemp(join(dir, 'layout-')), { layers: [{ entries: [file('a')] }] });
    const image = { reference: `${own.host}/offline:1`, digest: await own.push(built.dir, 'offline:1') };
    const first = await images.ensure(image, { signal: never });
    await own.stop();
    expect(await images.ensure(image, { signal: never })).toEqual(first);
    await images.close();
    images = await createImages({ dataDir, logger: silentLogger });
    await images.sweep();
    expect(await images.ensure(image, { signal: never })).toEqual(first);
    expect([...(await leftIn('documents', 'sha256'))].sort()).toEqual(
      [built.manifest, built.config].map((each) => each.digest.slice(7)).sort(),
    );
  });

  test('stays, when another image calls its config a layer', async () => {
    const image = await pushed('victim:1', { layers: [{ entries: [file('a')] }] });
    await images.ensure(image, { signal: never });
    const documents = await leftIn('documents', 'sha256');
    const configs = await Promise.all(documents.map((hex) => readFile(join(dataDir, 'images/documents/sha256', hex))));
    const config = configs.find((bytes) => bytes.includes('rootfs')) ?? Buffer.alloc(0);
    const hostile = await pushed('hostile:1', {
      layers: [{ blob: config, diffId: `sha256:${'0'.repeat(64)}`, compression: 'none' }],
    });
    await expect(images.ensure(hostile, { signal: never })).rejects.toMatchObject({ code: 'corrupt' });
    expect(await leftIn('documents', 'sha256')).toEqual(documents);
    expect(await leftIn('layers', 'sha256')).toEqual([]);
  });

  test('two at once share one download; a layer in common is fetched once', async () => {
    const common = { entries: [file('common', 'common bytes of two images')] };
    const one = await pushed('share:1', { layers: [common, { entries: [file('one')] }] });
    const two = await pushed('share:2', { layers: [common, { entries: [file('two')] }] });
    const before = (await registry.requests()).length;
    const progress: PullProgress[] = [];
    const [a, b, c] = await Promise.all([
      images.ensure(one, { signal: never, onProgress: (each) => progress.push(each) }),
      images.ensure(one, { signal: never }),
      images.ensure(two, { signal: never }),
    ]);
    expect(a).toEqual(b);
    expect(a.lowerDirs[1]).toBe(c.lowerDirs[1]);
    const asked = (await registry.requests()).slice(before);
    const blobs = asked.filter((line) => line.includes('/blobs/'));
    expect(new Set(blobs).size).toBe(blobs.length);
    // Two configs, three layers.
    expect(blobs).toHaveLength(5);
    expect(asked.filter((line) => line.includes('/manifests/'))).toHaveLength(2);
    expect(progress.at(-1)).toMatchObject({ phase: 'unpacking' });
    expect(progress.every((each) => each.doneBytes <= each.totalBytes)).toBe(true);
  });

  test('snapshots lie where only root comes', async () => {
    await images.ensure(await pushed('mode:1', { layers: [{ entries: [file('a')] }] }), { signal: never });
    expect((await stat(join(dataDir, 'images'))).mode & 0o777).toBe(0o700);
  });
});

describe('archives by other hands', () => {
  /** A folder with what formats differ in: sparse files, long names, an owner, a hard link. */
  async function tree(): Promise<string> {
    const from = await mkdtemp(join(dir, 'tree-'));
    const script = `
      set -e; cd ${from}
      mkdir -p d/${'n'.repeat(60)}/${'m'.repeat(60)}; chmod 2750 d; chown 12:34 d
      echo long > d/${'n'.repeat(60)}/${'m'.repeat(60)}/${'f'.repeat(60)}
      # Many islands: the map of an old GNU sparse file then needs blocks of its own.
      for i in $(seq 0 59); do printf island$i | dd of=sparse bs=1 seek=$((i * 65536)) conv=notrunc status=none; done
      truncate -s 5000000 sparse
      echo a > a; ln a b; ln -s a c; touch -d 2001-02-03 a`;
    await promisify(execFile)('sh', ['-c', script]);
    return from;
  }

  test.each(['gnu', 'oldgnu', 'pax'])('GNU tar %s, with sparse files', async (format) => {
    const from = await tree();
    const args = ['-c', '-S', '-f', '-', `--format=${format}`, '--numeric-owner', '-C', from, '.'];
    const options = { encoding: 'buffer', maxBuffer: 100_000_000 } as const;
    const { stdout: tar } = await promisify(execFile)('tar', args, options);
    const pulled = await images.ensure(await pushed(`sparse:${format}`, { layers: [{ tar }] }), { signal: never });
    const unpacked = pulled.lowerDirs[0] ?? '';
    await promisify(execFile)('diff', ['-r', '--no-dereference', from, unpacked]);
    const [old, made] = [await stat(join(from, 'sparse')), await stat(join(unpacked, 'sparse'))];
    expect(made.size).toBe(old.size);
    expect(made.blocks).toBeLessThan(made.size / 512 / 2);
    expect(await lstat(join(unpacked, 'd'))).toMatchObject({ uid: 12, gid: 34, mode: 0o42750 });
    expect((await lstat(join(unpacked, 'b'))).nlink).toBe(2);
    expect((await lstat(join(unpacked, 'a'))).mtimeMs).toBe(new Date('2001-02-03T00:00:00').getTime());
  });
});
