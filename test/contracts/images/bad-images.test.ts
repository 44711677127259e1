/** The images port when the image or the registry is bad: a clear error, and nothing of it left behind. Needs root. */
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createImages } from '../../../agent/images/create-images.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { ErrorCode } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import {
  compress,
  foreignPlatform,
  sha256,
  tarOf,
  writeImage,
  writeMultiPlatformImage,
} from '../../builders/oci-image.ts';
import type { BuiltImage, ImageSource, LayerEntry } from '../../builders/oci-image.ts';
import { startRegistry } from '../../builders/registry.ts';
import type { Registry } from '../../builders/registry.ts';

let dir: string;
let dataDir: string;
let registry: Registry;
let images: Awaited<ReturnType<typeof createImages>>;
const never = new AbortController().signal;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ft-bad-images-'));
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
  await images.close();
});

const file = (path: string, content: string | Buffer = path): LayerEntry => ({ type: 'file', path, content });
const layout = (): Promise<string> => mkdtemp(join(dir, 'layout-'));

async function pushed(name: string, source: ImageSource): Promise<BuiltImage & { reference: string; digest: string }> {
  const built = await writeImage(await layout(), source);
  return { ...built, reference: `${registry.host}/${name}`, digest: await registry.push(built.dir, name) };
}

/** The error of `ensure`; fails when there is none, or when it left anything behind. */
async function refusal(image: { reference: string; digest: string }): Promise<FrotaError> {
  const outcome = await images.ensure(image, { signal: never }).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(FrotaError);
  expect(await leftovers()).toEqual([]);
  return outcome as FrotaError;
}

/** Every file below the data folder. */
async function leftovers(): Promise<readonly string[]> {
  const found = await readdir(dataDir, { recursive: true, withFileTypes: true });
  return found.filter((each) => !each.isDirectory()).map((each) => each.name);
}

test('a layer whose bytes were changed in the registry', async () => {
  const image = await pushed('changed:1', {
    layers: [{ entries: [file('good')] }, { entries: [file('bad', 'x'.repeat(9000))] }],
  });
  const layer = image.layers[1]?.digest ?? '';
  const bytes = await readFile(registry.blobPath(layer));
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 0xff;
  await writeFile(registry.blobPath(layer), bytes);
  const outcome = await images.ensure(image, { signal: never }).catch((error: unknown) => error as FrotaError);
  expect(outcome).toMatchObject({ code: 'corrupt' });
  expect((outcome as FrotaError).message).toContain(layer);
  expect((outcome as FrotaError).message).toContain(`${registry.host}/changed`);
  // Only the good layer may be left; a later pull goes on from it.
  expect((await leftovers()).filter((name) => name !== 'good')).toEqual([]);
});

test('a layer that is cut short in the registry', async () => {
  const image = await pushed('cut:1', { layers: [{ entries: [file('a', Buffer.alloc(200_000, 'ab'))] }] });
  const path = registry.blobPath(image.layers[0]?.digest ?? '');
  const bytes = await readFile(path);
  await writeFile(path, bytes.subarray(0, bytes.length - 100));
  const error = await refusal(image);
  expect(error).toMatchObject({ code: 'corrupt' });
  expect(error.message).toMatch(
    new RegExp(`is ${String(bytes.length)} bytes long, the registry serves ${String(bytes.length - 100)}`),
  );
});

test('a layer that the registry has lost', async () => {
  const image = await pushed('lost:1', { layers: [{ entries: [file('lost')] }] });
  await rm(registry.blobPath(image.layers[0]?.digest ?? ''));
  const error = await refusal(image);
  expect(error).toMatchObject({ code: 'not-found' });
  expect(error.message).toContain('push the image again');
});

test('a manifest that the registry does not have', async () => {
  const error = await refusal({ reference: `${registry.host}/nothing:1`, digest: sha256('nothing') });
  expect(error).toMatchObject({ code: 'not-found' });
  expect(error.message).toContain(registry.host);
});

const tar = (entries: readonly LayerEntry[]): Promise<Buffer> => tarOf(entries);
const hostile: readonly [string, () => Promise<ImageSource>, ErrorCode, RegExp][] = [
  ['wrong diff id', () => source({ entries: [file('a')] }, { diffIdOf: 0 }), 'corrupt', /diff id/],
  [
    'fewer diff ids than layers',
    () => source({ entries: [file('a')] }, { missingDiffId: true }),
    'corrupt',
    /lists 0 layers, the manifest 1/,
  ],
  [
    'gzip cut short',
    async () => {
      const archive = await tar([file('a', Buffer.alloc(100_000, 'x'))]);
      const blob = gzipSync(archive);
      return source({ blob: blob.subarray(0, blob.length - 20), diffId: sha256(archive) });
    },
    'corrupt',
    /decompressed/,
  ],
  ['no gzip at all', () => source({ blob: Buffer.from('hello'), diffId: sha256('hello') }), 'corrupt', /decompressed/],
  [
    'archive cut short',
    async () => source({ tar: (await tar([file('a', 'x'.repeat(5000))])).subarray(0, 2000) }),
    'corrupt',
    /ends too early/,
  ],
  ['archive of noise', () => source({ tar: Buffer.alloc(10_240, 'noise') }), 'corrupt', /damaged/],
  ['entry above its root', () => source({ entries: [file('../escaped')] }), 'corrupt', /leads out/],
  [
    'write through a link',
    () => source({ entries: [{ type: 'symlink', path: 'l', target: '/etc' }, file('l/ft-escaped')] }),
    'corrupt',
    /tar refused/,
  ],
  [
    'write through a chain of links',
    () =>
      source({
        entries: [
          { type: 'symlink', path: 'a', target: '..' },
          { type: 'symlink', path: 'b', target: 'a/..' },
          { type: 'symlink', path: 'c', target: 'b/../tmp' },
          file('c/ft-escaped'),
        ],
      }),
    'corrupt',
    /tar refused/,
  ],
  ['whiteout outside', () => source({ entries: [file('../.wh.escaped')] }), 'corrupt', /leads out/],
  [
    'hard link out',
    () => source({ entries: [{ type: 'hardlink', path: 'l', target: '../../../../etc/hostname' }] }),
    'corrupt',
    /tar refused/,
  ],
  [
    'unknown layer type',
    () => source({ entries: [file('a')], mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted' }),
    'unsupported',
    /encrypted/,
  ],
  [
    'another platform',
    async () => ({ ...(await source({ entries: [file('a')] })), platform: foreignPlatform() }),
    'unsupported',
    /this node runs linux/,
  ],
];

async function source(layer: ImageSource['layers'][number], wrong: ImageSource['wrong'] = {}): Promise<ImageSource> {
  return Promise.resolve({ layers: [layer], wrong });
}

test.each(hostile)('%s', async (name, make, code, message) => {
  const error = await refusal(await pushed(`${name.replaceAll(' ', '-').toLowerCase()}:1`, await make()));
  expect(error.message).toMatch(message);
  expect(error).toMatchObject({ code });
});

test('an index without an image for this machine says which it has', async () => {
  const layers = [{ entries: [file('a')] }];
  const built = await writeMultiPlatformImage(await layout(), [{ layers, platform: foreignPlatform() }]);
  const digest = await registry.push(built.dir, 'foreign:1');
  const error = await refusal({ reference: `${registry.host}/foreign:1`, digest });
  expect(error).toMatchObject({ code: 'unsupported' });
  expect(error.message).toContain(`it has linux/${foreignPlatform().architecture}`);
});

test('a layer that grows beyond the limits', async () => {
  const image = await pushed('bomb:1', { layers: [{ entries: [file('zeros', Buffer.alloc(4_000_000))] }] });
  await images.close();
  images = await createImages({ dataDir, logger: silentLogger, limits: { maxUnpackedBytes: 1_000_000 } });
  expect(await refusal(image)).toMatchObject({ code: 'exhausted' });
  await images.close();
  images = await createImages({ dataDir, logger: silentLogger, limits: { maxEntries: 1 } });
  const two = await pushed('two:1', { layers: [{ entries: [file('a'), file('b')] }] });
  expect(await refusal(two)).toMatchObject({ code: 'exhausted' });
});

test('a hard link into a lower layer', async () => {
  const above: LayerEntry = { type: 'hardlink', path: 'above', target: 'below' };
  const image = await pushed('hard-below:1', { layers: [{ entries: [file('below')] }, { entries: [above] }] });
  await expect(images.ensure(image, { signal: never })).rejects.toMatchObject({ code: 'corrupt' });
  // The lower layer may have been complete by then: it stays, as other images may have it in common.
  expect((await leftovers()).filter((name) => name !== 'below')).toEqual([]);
});

test.each(['gzip', 'zstd'] as const)('a bomb of zeros, %s', async (compression) => {
  const zeros = { entries: [file('zeros', Buffer.alloc(40_000_000))], compression };
  const image = await pushed(`zeros-${compression}:1`, { layers: [zeros] });
  await images.close();
  images = await createImages({ dataDir, logger: silentLogger, limits: { maxUnpackedBytes: 1_000_000 } });
  const error = await refusal(image);
  expect(error).toMatchObject({ code: 'exhausted' });
  expect(error.message).toContain('larger than 1000000 bytes when unpacked');
});

test('attributes that would steer overlayfs are not taken over', async () => {
  const redirect: LayerEntry = { type: 'directory', path: 'd', xattrs: { 'trusted.overlay.redirect': '/elsewhere' } };
  const image = await images.ensure(await pushed('steer:1', { layers: [{ entries: [redirect] }] }), { signal: never });
  const list = `import os,sys; print(os.listxattr(sys.argv[1]))`;
  const { execFileSync } = await import('node:child_process');
  expect(execFileSync('python3', ['-c', list, join(image.lowerDirs[0] ?? '', 'd')], { encoding: 'utf8' }).trim()).toBe(
    '[]',
  );
});

test('a registry that is not there', async () => {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  const startedAt = performance.now();
  const error = await refusal({ reference: `127.0.0.1:${String(port)}/app:1`, digest: sha256('x') });
  expect(error).toMatchObject({ code: 'unavailable' });
  expect(error.message).toMatch(/127\.0\.0\.1:\d+ can't be reached .*connection refused/);
  expect(performance.now() - startedAt).toBeLessThan(10_000);
});

test('a cancelled pull leaves nothing, and the next one works', async () => {
  const image = await pushed('slow:1', { layers: [{ entries: [file('a', Buffer.alloc(500_000, 'a'))] }] });
  const slow = await slowProxy(registry);
  try {
    const abort = new AbortController();
    const reference = image.reference.replace(registry.host, slow.host);
    const pulling = images.ensure({ ...image, reference }, { signal: abort.signal });
    await slow.blobBegan;
    abort.abort();
    await expect(pulling).rejects.toMatchObject({ code: 'cancelled' });
    expect(await leftovers()).toEqual([]);
  } finally {
    slow.server.closeAllConnections();
    await new Promise((resolve) => slow.server.close(resolve));
  }
  await images.ensure(image, { signal: never });
});

test('one of two who wait may go without harm to the other', async () => {
  const image = await pushed('pair:1', { layers: [{ entries: [file('a')] }] });
  const abort = new AbortController();
  const gone = images.ensure(image, { signal: abort.signal });
  const stays = images.ensure(image, { signal: never });
  await sleep(5);
  abort.abort();
  await expect(gone).rejects.toMatchObject({ code: 'cancelled' });
  expect((await stays).lowerDirs).toHaveLength(1);
});

const listen = (server: Server): Promise<number> =>
  new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => {
      resolve((server.address() as AddressInfo).port);
    }),
  );

/** Passes manifests on, and of layers only the first bytes: then it stays silent. */
async function slowProxy(behind: Registry): Promise<{ host: string; server: Server; blobBegan: Promise<void> }> {
  let began: () => void = () => undefined;
  const blobBegan = new Promise<void>((resolve) => (began = resolve));
  const server = createServer((request, response) => {
    void (async () => {
      const headers = { accept: request.headers.accept ?? '*/*' };
      const answer = await fetch(`${behind.url}${request.url ?? ''}`, { headers });
      const bytes = Buffer.from(await answer.arrayBuffer());
      const type = answer.headers.get('content-type') ?? '';
      response.writeHead(answer.status, { 'content-type': type, 'content-length': bytes.length });
      if (!type.startsWith('application/octet-stream') || bytes.length < 1000) return void response.end(bytes);
      response.write(bytes.subarray(0, 500));
      began();
    })();
  });
  return { host: `127.0.0.1:${String(await listen(server))}`, server, blobBegan };
}

test('the blobs of the compression builder are real', async () => {
  expect((await compress(Buffer.from('a'), 'zstd')).subarray(0, 4).toString('hex')).toBe('28b52ffd');
});
