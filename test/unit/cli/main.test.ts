import { build } from 'esbuild';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { upsertContext } from '../../../cli/contexts/contexts-file.ts';
import { aTask, FakeControl, progress } from './fake-control.ts';
import { serveControl } from './real-server.ts';
import type { RealServer } from './real-server.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
/** Inside the checkout, so that the bundle finds its packages. */
const bundle = join(root, 'node_modules/.cache', `ft-cli-${String(process.pid)}`);
const folder = mkdtempSync(join(tmpdir(), 'ft-cli-main-'));
const control = new FakeControl();
let server: RealServer;

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** The program as people run it: a process of its own, bundled as `bin/build` does. */
function frota(
  args: readonly string[],
  during: (child: ReturnType<typeof spawn>) => void = () => undefined,
): Promise<Ended> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, [join(bundle, 'main.js'), ...args], {
      cwd: folder,
      env: { PATH: process.env['PATH'], HOME: folder, FROTA_CONFIG_DIR: folder },
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.on('error', fail);
    child.on('close', (status) => {
      done({ status, out, err });
    });
    during(child);
  });
}

beforeAll(async () => {
  await build({
    absWorkingDir: root,
    entryPoints: ['cli/main.ts'],
    outdir: bundle,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    logLevel: 'error',
  });
  server = await serveControl(control);
  await upsertContext(folder, 'local', server.context);
  mkdirSync(join(folder, 'shop'));
  writeFileSync(join(folder, 'compose.yaml'), 'name: hello\nservices: {web: {image: app}}\n');
});

afterAll(async () => {
  await server.close();
  rmSync(bundle, { recursive: true, force: true });
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(() => {
  control.calls.length = 0;
});

describe('the program', () => {
  it('asks a real server and ends by itself', async () => {
    control.tasks = [aTask()];
    expect(await frota(['ps', '-o', 'json'])).toEqual({
      status: 0,
      out: `${JSON.stringify([aTask()], null, 2)}\n`,
      err: '',
    });
  });

  it('applies, waits and ends', async () => {
    control.watches = [[progress({ converged: false }), progress()]];
    expect(await frota(['apply', '--wait'])).toEqual({
      status: 0,
      out: 'hello: version 1 accepted; created web\n',
      err: 'hello/web 1/1 running\n',
    });
  });

  it('ends quietly when nobody reads any more', async () => {
    // Far more than a pipe holds.
    control.tasks = Array.from({ length: 4000 }, (_, n) => aTask({ id: `t${String(n)}` }));
    const ended = await frota(['ps', '-o', 'json'], ({ stdout }) => {
      stdout?.once('data', () => stdout.destroy());
    });
    expect(ended.err).toBe('');
    expect(ended.status).toBe(0);
  });

  it('writes all of a long list into a pipe', async () => {
    control.tasks = Array.from({ length: 4000 }, (_, n) => aTask({ id: `t${String(n)}` }));
    const { out } = await frota(['ps', '-o', 'json']);
    expect(JSON.parse(out)).toHaveLength(4000);
  });

  it('reads a pipe, and stops reading at Ctrl-C', async () => {
    const given = await frota(['apply', '-f', '-', '-n', 'piped'], ({ stdin }) => {
      stdin?.end('services: {web: {image: app}}');
    });
    expect([given.status, given.out]).toEqual([0, 'piped: version 1 accepted; created web\n']);
    const endless = await frota(['apply', '-f', '/dev/zero']);
    expect([endless.status, endless.err]).toEqual([
      2,
      'error: /dev/zero is too large: a Compose file has at most 512 KiB\n',
    ]);
    const stopped = await frota(['apply', '-f', '-', '-n', 'piped'], (child) => {
      // More than lies in a pipe unread: once all of it is gone, the program reads.
      child.stdin?.write(`#${' '.repeat(400 * 1024)}`, () => child.kill('SIGINT'));
    });
    expect(stopped.status).toBe(130);
  });

  it('stops waiting at Ctrl-C', async () => {
    control.watches = [[progress({ converged: false }), 'silence']];
    const ended = await frota(['apply', '--wait'], (child) => {
      child.stderr?.once('data', () => child.kill('SIGINT'));
    });
    expect(ended.status).toBe(130);
    expect(ended.err).toContain('stopped waiting; the change was accepted and goes on');
    expect(ended.out).toBe('');
  });

  it('loads no gRPC and no YAML for what needs neither', async () => {
    const { status, out } = await frota(['--help']);
    expect([status, out.startsWith('Usage: frota')]).toEqual([0, true]);
    const { outputFiles } = await build({
      absWorkingDir: root,
      entryPoints: ['cli/main.ts'],
      outdir: 'unused',
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      packages: 'external',
      logLevel: 'error',
      write: false,
    });
    const files = new Map(outputFiles.map(({ path, text }) => [path, text]));
    const seen = new Set<string>();
    const visit = (path: string): void => {
      if (seen.has(path)) return;
      seen.add(path);
      for (const [, name = ''] of (files.get(path) ?? '').matchAll(/^(?:import|export)[^;]*?"(\.[^"]+)";/gmu)) {
        visit(resolve(dirname(path), name));
      }
    };
    visit(join(root, 'unused/main.js'));
    expect(seen.size).toBeGreaterThan(3);
    const eager = [...seen].map((path) => files.get(path) ?? '').join('\n');
    expect(eager).toContain('from "commander"');
    for (const heavy of ['@grpc/grpc-js', 'yaml', 'cli-table3', 'log-update', 'protobufjs']) {
      expect(eager).not.toMatch(new RegExp(`^import[^;]*"${heavy}[^"]*";`, 'mu'));
    }
  });
});
