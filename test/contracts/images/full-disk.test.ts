/** The disk is full, or becomes so in the midst of a pull: it is said, nothing is left of it, and with room it goes on. Needs root. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createImages } from '../../../agent/images/create-images.ts';
import type { PullProgress } from '../../../agent/images/images.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { writeImage } from '../../builders/oci-image.ts';
import { startRegistry } from '../../builders/registry.ts';
import type { Registry } from '../../builders/registry.ts';
import { makeSmallDisk, smallDiskKinds } from '../../builders/small-disk.ts';
import type { SmallDisk } from '../../builders/small-disk.ts';

interface Pulled {
  readonly reference: string;
  readonly digest: string;
  readonly layers: readonly { readonly digest: string }[];
}

const megabyte = 1_000_000;
const diskBytes = 40 * megabyte;
const never = new AbortController().signal;
/** Compressible: what is full is full in the midst of unpacking. */
const zeros = Buffer.alloc(60 * megabyte);
/** Not compressible: what is full is full in the midst of the download. */
const noise = randomBytes(12 * megabyte);

let dir: string;
let registry: Registry;
let disk: SmallDisk;
let images: Awaited<ReturnType<typeof createImages>>;

/** Pulled again and again: each starts with an empty disk. */
const pushed = { noise: {} as Pulled, zeros: {} as Pulled, crowd: {} as Pulled };

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ft-full-disk-'));
  registry = await startRegistry();
  const below = [{ type: 'file', path: 'below', content: 'whole' }] as const;
  pushed.noise = await push('noise:1', [below, [{ type: 'file', path: 'content', content: noise }]]);
  pushed.zeros = await push('zeros:1', [below, [{ type: 'file', path: 'content', content: zeros }]]);
  const crowd = Array.from({ length: 300 }, (_, n) => ({ type: 'file', path: String(n), content: 'x' }) as const);
  pushed.crowd = await push('crowd:1', [crowd]);
});
afterAll(async () => {
  await registry.stop();
  await rm(dir, { recursive: true, force: true });
});
afterEach(async () => {
  await images.close();
  disk.remove();
});

type Entries = readonly { readonly type: 'file'; readonly path: string; readonly content: string | Buffer }[];

async function push(name: string, layers: readonly Entries[]): Promise<Pulled> {
  const source = { layers: layers.map((entries) => ({ entries })) };
  const built = await writeImage(await mkdtemp(join(dir, 'layout-')), source);
  return {
    reference: `${registry.host}/${name}`,
    digest: await registry.push(built.dir, name),
    layers: built.layers,
  };
}

async function open(made: SmallDisk, keepFreeBytes: number): Promise<void> {
  disk = made;
  images = await createImages({ dataDir: disk.path, logger: silentLogger, limits: { keepFreeBytes } });
}

/** The error of a pull that finds no room; it must say where, how much is free and what to do. */
async function refusal(image: Pulled, onProgress?: (progress: PullProgress) => void): Promise<FrotaError> {
  const options = { signal: never, ...(onProgress === undefined ? {} : { onProgress }) };
  const outcome: unknown = await images.ensure(image, options).catch((error: unknown) => error);
  expect(outcome).toBeInstanceOf(FrotaError);
  const error = outcome as FrotaError;
  expect(error).toMatchObject({ code: 'exhausted' });
  expect(error.message).toContain(image.reference);
  expect(error.message).toMatch(
    new RegExp(`the disk is full: no room for .* in ${disk.path}/images/.*make room there`),
  );
  return error;
}

/** Files below `images/`, by their paths in there. */
async function files(): Promise<readonly string[]> {
  const root = join(disk.path, 'images');
  const found = await readdir(root, { recursive: true, withFileTypes: true });
  return found.filter((each) => !each.isDirectory()).map((each) => join(each.parentPath, each.name).slice(root.length));
}

async function worksNow(image: Pulled, content: Buffer): Promise<void> {
  const { lowerDirs } = await images.ensure(image, { signal: never });
  expect(lowerDirs).toHaveLength(2);
  const [digest, wanted] = [await readFile(join(lowerDirs[0] ?? '', 'content')), content].map((bytes) =>
    createHash('sha256').update(bytes).digest('hex'),
  );
  expect(digest).toBe(wanted);
  expect(await readFile(join(lowerDirs[1] ?? '', 'below'), 'utf8')).toBe('whole');
}

describe.each(smallDiskKinds)('on %s', (kind) => {
  test('a layer that would not fit is not even asked for', async () => {
    await open(makeSmallDisk(kind, diskBytes), 4 * megabyte);
    disk.fill(10 * megabyte);
    const before = (await registry.requests()).length;
    const error = await refusal(pushed.noise);
    const layer = pushed.noise.layers[1]?.digest ?? '';
    expect(error.message).toMatch(
      new RegExp(
        `no room for the 12\\.0 MB of layer ${layer} .* \\(\\d+\\.\\d MB of .* MB are free, of which 4\\.0 MB are to`,
      ),
    );
    expect((await registry.requests()).slice(before).filter((line) => line.includes(layer))).toEqual([]);
    disk.makeRoom();
    await worksNow(pushed.noise, noise);
  });

  test.each([
    ['to the last byte', 0, 0, /no room for [0-9a-f]{24} in/],
    ['but for what others need', 6 * megabyte, 8 * megabyte, /no room for layer sha256:/],
  ])('that others fill while a layer is downloaded, %s', async (_name, leaveBytes, keepFreeBytes, words) => {
    await open(makeSmallDisk(kind, diskBytes), keepFreeBytes);
    let isFilled = false;
    const error = await refusal(pushed.noise, ({ phase, doneBytes }) => {
      if (isFilled || phase !== 'downloading' || doneBytes < 100_000) return;
      isFilled = true;
      disk.fill(leaveBytes);
    });
    expect(isFilled).toBe(true);
    expect(error.message).toMatch(words);
    // At the most the layer that was there in time: whole, so a later pull goes on from it.
    expect((await files()).filter((path) => !/^\/snapshots\/[a-z2-7]{26}\/below$/.test(path))).toEqual([]);
    await refusal(pushed.noise);
    disk.makeRoom();
    await worksNow(pushed.noise, noise);
  });

  test.each([
    ['to the last byte', 0],
    ['but for what others need', 12 * megabyte],
  ])('that unpacking fills, %s', async (_name, keepFreeBytes) => {
    await open(makeSmallDisk(kind, diskBytes), keepFreeBytes);
    let least = Infinity;
    const watch = setInterval(() => (least = Math.min(least, disk.freeBytes())), 1);
    const error = await refusal(pushed.zeros).finally(() => {
      clearInterval(watch);
    });
    expect(error.message).toContain(`layer ${pushed.zeros.layers[1]?.digest ?? ''}`);
    expect(error.message).toContain("can't be unpacked");
    // Containers that run beside it could write all the time.
    if (keepFreeBytes > 0) expect(least).toBeGreaterThan(keepFreeBytes / 2);
    expect((await files()).filter((path) => !/^\/snapshots\/[a-z2-7]{26}\/below$/.test(path))).toEqual([]);
    expect(disk.freeBytes()).toBeGreaterThan(30 * megabyte);
    await images.close();
    const small = disk;
    await open(makeSmallDisk(kind, 3 * diskBytes), keepFreeBytes);
    small.remove();
    await worksNow(pushed.zeros, zeros);
  });

  test('with no room at all, and then with some', async () => {
    await open(makeSmallDisk(kind, diskBytes), 0);
    disk.fill();
    expect(disk.freeBytes()).toBeLessThan(8192);
    const error = await refusal(pushed.noise);
    expect(error.message).toMatch(/\(0\.0 MB of [34]\d\.\d MB are free\)/);
    expect(await files()).toEqual([]);
    disk.makeRoom();
    await worksNow(pushed.noise, noise);
  });

  test('that can have no more files', async () => {
    await open(makeSmallDisk(kind, diskBytes, 100), 0);
    const error = await refusal(pushed.crowd);
    expect(error.message).toContain('no more files can be made (no inode is free)');
    expect(await files()).toEqual([]);
  });
});
