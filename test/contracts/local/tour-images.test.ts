import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureImages } from '../../../cli/local/tour/images.ts';

const folder = mkdtempSync(join(tmpdir(), 'ft-tour-'));
const example = resolve(import.meta.dirname, '../../../examples/hello');
let registry: string;
let server: ChildProcess;
const lines: string[] = [];
const ensure = (stamp: string): Promise<boolean> => {
  lines.length = 0;
  return ensureImages({ registry, example, stampFile: join(folder, stamp), say: (line) => lines.push(line) });
};
const digestsIn = (stamp: string): unknown => JSON.parse(readFileSync(join(folder, stamp), 'utf8'));

beforeAll(async () => {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => probe.once('listening', done));
  const { port } = probe.address() as AddressInfo;
  await new Promise((done) => probe.close(done));
  registry = `127.0.0.1:${port}`;
  const config = join(folder, 'config.yml');
  const root = join(folder, 'blobs');
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${root}}}\nhttp: {addr: "${registry}"}\n`,
  );
  server = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  for (let tries = 0; tries < 100; tries += 1) {
    if (
      await fetch(`http://${registry}/v2/`).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      return;
    await delay(50);
  }
});
afterAll(() => {
  server.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

describe("the example's images", () => {
  it('are made and pushed once', async () => {
    await ensure('stamp.json');
    expect(lines).toHaveLength(3);
    const startMs = performance.now();
    await ensure('stamp.json');
    expect(lines).toEqual([]);
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });

  it('have the same digests when made again', async () => {
    await ensure('other.json');
    expect(lines).toHaveLength(3);
    expect(digestsIn('other.json')).toEqual(digestsIn('stamp.json'));
  });

  it('are made again when the registry lost them', async () => {
    rmSync(join(folder, 'blobs'), { recursive: true });
    await ensure('stamp.json');
    expect(lines).toHaveLength(3);
  });

  it('share their base layer and run on nothing but themselves', async () => {
    const manifests = ['web', 'counter'].map((service) => {
      const raw = execFileSync('skopeo', [
        'inspect',
        '--raw',
        '--tls-verify=false',
        `docker://${registry}/hello/${service}:1`,
      ]);
      return JSON.parse(raw.toString()) as { layers: { digest: string }[] };
    });
    expect(manifests[0]!.layers[0]).toEqual(manifests[1]!.layers[0]);
    const rootfs = join(folder, 'rootfs');
    mkdirSync(rootfs);
    for (const { digest } of manifests[0]!.layers) {
      const blob = await fetch(`http://${registry}/v2/hello/web/blobs/${digest}`);
      execFileSync('tar', ['-xz', '-C', rootfs], { input: Buffer.from(await blob.arrayBuffer()) });
    }
    const program = 'import("/app/serve.mjs").then(() => console.log(process.version))';
    const said = execFileSync('chroot', ['--userspec=1000:1000', rootfs, '/usr/local/bin/node', '-e', program], {
      encoding: 'utf8',
    });
    expect(said.trim()).toBe(process.version);
  });
});
