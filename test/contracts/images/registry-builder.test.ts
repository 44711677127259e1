import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { busyboxImage, foreignPlatform, hostPlatform, writeMultiPlatformImage } from '../../builders/oci-image.ts';
import { startRegistry } from '../../builders/registry.ts';
import type { Registry } from '../../builders/registry.ts';

/** The builders are used by many suites: what they make must be right by other people's tools. */
let dir: string;
let registry: Registry;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ft-builder-'));
  registry = await startRegistry();
});

afterAll(async () => {
  await registry.stop();
  await rm(dir, { recursive: true, force: true });
});

const skopeo = async (...args: readonly string[]): Promise<string> =>
  (await promisify(execFile)('skopeo', ['--insecure-policy', ...args])).stdout;

test('a busybox image is pushed byte for byte, and skopeo reads it', async () => {
  const image = await busyboxImage(join(dir, 'busybox'), { config: { command: ['sleep', '1'], user: 'app' } });
  expect(await registry.push(image.dir, 'busybox:1')).toBe(image.manifest.digest);
  const config = JSON.parse(
    await skopeo('inspect', '--config', '--tls-verify=false', `docker://${registry.host}/busybox:1`),
  ) as {
    architecture: string;
    config: { Cmd: string[]; User: string };
    rootfs: { diff_ids: string[] };
  };
  expect(config.config).toMatchObject({ Cmd: ['sleep', '1'], User: 'app' });
  expect(config.architecture).toBe(hostPlatform().architecture);
  expect(config.rootfs.diff_ids).toEqual(image.layers.map((layer) => layer.diffId));
  expect((await readFile(registry.blobPath(image.config.digest))).length).toBe(image.config.size);
  expect(await registry.requests()).toContainEqual(expect.stringContaining('PUT /v2/busybox/manifests/1'));
});

test('an index of two platforms is pushed whole', async () => {
  const layers = [{ entries: [{ type: 'file', path: 'a', content: 'a' }] }] as const;
  const built = await writeMultiPlatformImage(join(dir, 'multi'), [
    { layers },
    { layers, platform: foreignPlatform() },
  ]);
  expect(await registry.push(built.dir, 'multi:1')).toBe(built.index.digest);
  const raw = JSON.parse(
    await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${registry.host}/multi:1`),
  ) as {
    manifests: { digest: string }[];
  };
  expect(raw.manifests.map((manifest) => manifest.digest)).toEqual(built.images.map((image) => image.manifest.digest));
});

test('the registry stops, and twice is fine', async () => {
  const other = await startRegistry();
  expect(other.host).not.toBe(registry.host);
  await other.stop();
  await other.stop();
  expect(() => process.kill(other.pid, 0)).toThrow();
});
