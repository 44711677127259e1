/** Which registries are spoken to how: HTTPS unless told otherwise, and never silently less. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRegistryClient } from '../../../proto/oci/registry-client.ts';
import { resolveDigest } from '../../../proto/oci/resolve.ts';
import { writeImage } from '../../builders/oci-image.ts';
import { startRegistry } from '../../builders/registry.ts';
import type { Registry } from '../../builders/registry.ts';

let dir: string;
let digest: string;
let tls: { certificate: string; key: string };
const running: Registry[] = [];
/** An address of this machine that is no loopback: the rules differ there. */
const address = Object.values(networkInterfaces())
  .flatMap((each) => each ?? [])
  .find((each) => each.family === 'IPv4' && !each.internal)?.address;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ft-tls-'));
  tls = { certificate: join(dir, 'cert.pem'), key: join(dir, 'key.pem') };
  const subject = ['-subj', '/CN=frota test', '-days', '2'];
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', ...subject];
  await promisify(execFile)('openssl', [...args, '-keyout', tls.key, '-out', tls.certificate]);
});
afterAll(async () => {
  await Promise.all(running.map((registry) => registry.stop()));
  await rm(dir, { recursive: true, force: true });
});

async function registryWithImage(options: Parameters<typeof startRegistry>[0]): Promise<Registry> {
  const registry = await startRegistry(options);
  running.push(registry);
  const built = await writeImage(await mkdtemp(join(dir, 'layout-')), {
    layers: [{ entries: [{ type: 'file', path: 'a', content: 'a' }] }],
  });
  digest = await registry.push(built.dir, 'app:1');
  return registry;
}

async function resolved(registry: Registry, insecureRegistries: readonly string[] = []): Promise<string> {
  const client = createRegistryClient({ insecureRegistries });
  try {
    return (await resolveDigest(client, `${registry.host}/app:1`, { signal: new AbortController().signal })).digest;
  } finally {
    await client.close();
  }
}

describe('on loopback', () => {
  test('HTTPS with a certificate nobody knows, and plain HTTP, both work', async () => {
    expect(await resolved(await registryWithImage({ tls }))).toBe(digest);
    expect(await resolved(await registryWithImage({}))).toBe(digest);
  });
});

describe.skipIf(address === undefined)('elsewhere', () => {
  test('an unknown certificate is refused, unless the registry is listed', async () => {
    const registry = await registryWithImage({ address: address ?? '', tls });
    await expect(resolved(registry)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/certificate is not trusted .* list .* as an insecure registry/) as string,
    });
    expect(await resolved(registry, [registry.host])).toBe(digest);
    expect(await resolved(registry, [`${address ?? ''}/32`])).toBe(digest);
  });

  test('plain HTTP is refused, unless the registry is listed', async () => {
    const registry = await registryWithImage({ address: address ?? '' });
    await expect(resolved(registry)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('does not speak TLS; if that is meant') as string,
    });
    expect((await registry.requests()).some((line) => line.startsWith('HEAD /v2/app/manifests/1 '))).toBe(false);
    expect(await resolved(registry, [registry.host])).toBe(digest);
  });
});
