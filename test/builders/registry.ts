/** A real image registry (Debian's `docker-registry`) with storage of its own, for tests. */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { access, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { FrotaError } from '../../proto/base/errors.ts';

export interface RegistryOptions {
  /** IP address to listen on; default 127.0.0.1. */
  readonly address?: string;
  /** Default: a free one. With `netns` give one, the free port is looked for in this process's namespace. */
  readonly port?: number;
  /** Name of a network namespace (`ip netns`) to run in. `address` must then be reachable from here. */
  readonly netns?: string;
  /** PEM files: the registry then speaks HTTPS only. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Keeps its images here across starts; default: a temporary folder that `stop` removes. */
  readonly storageDir?: string;
}

export interface PushOptions {
  /** Converts to Docker's media types on the way. Digests change then, and the layers are compressed with gzip. */
  readonly docker?: boolean;
}

export interface Registry {
  /** `host:port`, as image references begin. */
  readonly host: string;
  readonly url: string;
  readonly pid: number;
  /** Pushes the layout in `layoutDir` as `name:tag`, bytes unchanged. @returns the manifest's digest in the registry. */
  push(layoutDir: string, nameAndTag: string, options?: PushOptions): Promise<string>;
  /** Where the registry keeps a blob's bytes; change them to serve something wrong. */
  blobPath(digest: string): string;
  /** Requests served so far, from its access log, e.g. `GET /v2/app/blobs/sha256:…`. */
  requests(): Promise<readonly string[]>;
  /** Ends the process and removes its temporary files. Twice is fine. */
  stop(): Promise<void>;
}

/** It listens within some 100 ms on an idle machine; this one is shared. */
const startTimeoutMs = 20_000;
const stopTimeoutMs = 5_000;
const pushTimeoutMs = 60_000;
/** A free port may be taken by somebody else before the registry listens. */
const startAttempts = 5;

export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(options);
    } catch (error) {
      if (attempt >= startAttempts || options.port !== undefined) throw error;
    }
  }
}

async function startOnce(options: RegistryOptions): Promise<Registry> {
  const address = options.address ?? '127.0.0.1';
  const port = options.port ?? (await freePort());
  const dir = await mkdtemp(join(tmpdir(), 'ft-registry-'));
  const storageDir = options.storageDir ?? join(dir, 'storage');
  const logPath = join(dir, 'log');
  const host = address.includes(':') ? `[${address}]:${String(port)}` : `${address}:${String(port)}`;
  const configPath = join(dir, 'config.json');
  // JSON is YAML. No blob descriptor cache: tests change blobs behind the registry's back.
  await writeFile(
    configPath,
    JSON.stringify({
      version: 0.1,
      log: { level: 'warn', accesslog: { disabled: false } },
      storage: { filesystem: { rootdirectory: storageDir }, delete: { enabled: true } },
      http: {
        addr: host,
        ...(options.tls === undefined ? {} : { tls: options.tls }),
      },
    }),
  );
  const child = await spawnRegistry(configPath, logPath, options.netns);
  const url = `${options.tls === undefined ? 'http' : 'https'}://${host}`;
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> =>
    (stopped ??= endProcess(child).then(() => rm(dir, { recursive: true, force: true })));
  try {
    await answers(url, child, logPath);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    host,
    url,
    pid: child.pid ?? 0,
    push: (layoutDir, nameAndTag, pushOptions = {}) => push(layoutDir, host, nameAndTag, pushOptions),
    blobPath: (digest) => {
      const [algorithm = '', hex = ''] = digest.split(':');
      return join(storageDir, 'docker/registry/v2/blobs', algorithm, hex.slice(0, 2), hex, 'data');
    },
    requests: async () =>
      [...(await readFile(logPath, 'utf8')).matchAll(/"((?:GET|HEAD|PUT|POST|PATCH) \S+) HTTP/g)].map(
        (match) => match[1] ?? '',
      ),
    stop,
  };
}

async function spawnRegistry(configPath: string, logPath: string, netns: string | undefined): Promise<ChildProcess> {
  const command = ['docker-registry', 'serve', configPath];
  const [program = '', ...args] = netns === undefined ? command : ['ip', 'netns', 'exec', netns, ...command];
  const log = await open(logPath, 'w');
  try {
    const child = spawn(program, args, {
      stdio: ['ignore', log.fd, log.fd],
      env: { PATH: process.env.PATH, OTEL_TRACES_EXPORTER: 'none' },
    });
    await once(child, 'spawn');
    // A test run that ends without `stop` must not wait for it, nor leave it behind.
    child.unref();
    const killWithUs = (): void => void child.kill('SIGKILL');
    process.once('exit', killWithUs);
    child.once('exit', () => process.off('exit', killWithUs));
    return child;
  } finally {
    await log.close();
  }
}

async function answers(url: string, child: ChildProcess, logPath: string): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) break;
    const args = ['-sk', '--noproxy', '*', '-o', '/dev/null', '-m', '2', '-w', '%{http_code}', `${url}/v2/`];
    const code = await promisify(execFile)('curl', args).then(
      ({ stdout }) => stdout,
      () => '',
    );
    if (code === '200') return;
    await sleep(50);
  }
  const log = await readFile(logPath, 'utf8').catch(() => '');
  throw new FrotaError(
    'unavailable',
    `docker-registry does not answer on ${url}: ${log.trim().split('\n').slice(-3).join(' | ')}`,
  );
}

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.ref();
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
  await ended;
  clearTimeout(timer);
}

async function push(layoutDir: string, host: string, nameAndTag: string, options: PushOptions): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'ft-push-'));
  try {
    await access(join(layoutDir, 'oci-layout'));
    const digestFile = join(dir, 'digest');
    const format = options.docker === true ? ['--format', 'v2s2'] : ['--all', '--preserve-digests'];
    await promisify(execFile)(
      'skopeo',
      // Our images carry no signatures, and a host without a policy file must do.
      [
        '--insecure-policy',
        'copy',
        '-q',
        ...format,
        '--dest-tls-verify=false',
        '--digestfile',
        digestFile,
        `oci:${layoutDir}`,
        `docker://${host}/${nameAndTag}`,
      ],
      { timeout: pushTimeoutMs },
    );
    return (await readFile(digestFile, 'utf8')).trim();
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string')
    throw new FrotaError('unavailable', 'no free TCP port on 127.0.0.1');
  return address.port;
}
