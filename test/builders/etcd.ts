/** A real etcd (Debian's `etcd-server`) on loopback with a folder of its own, for tests. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FrotaError } from '../../proto/base/errors.ts';

export interface EtcdOptions {
  /** Further arguments of `etcd`. */
  readonly args?: readonly string[];
  /** PEM files: it then speaks TLS only and wants a client certificate of this CA. */
  readonly tls?: { readonly ca: string; readonly certificate: string; readonly key: string };
}

export interface Etcd {
  /** `host:port` for clients. */
  readonly address: string;
  /** Of its data; stays over `kill` and `start`. */
  readonly folder: string;
  pid(): number;
  /** Resolves when it accepts connections. After `kill`: the same address and data. */
  start(): Promise<void>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** Ends the process and removes its folder. Twice is fine. */
  stop(): Promise<void>;
}

/** It listens within 200 ms on an idle machine; this one is shared. */
const startTimeoutMs = 20_000;

/** Members of one cluster, all started. */
export async function startEtcds(count: number, options: EtcdOptions = {}): Promise<readonly Etcd[]> {
  const places = await Promise.all(
    Array.from({ length: count }, async (_, index) => ({
      name: `m${String(index)}`,
      client: `127.0.0.1:${String(await freePort())}`,
      peer: `http://127.0.0.1:${String(await freePort())}`,
    })),
  );
  const cluster = places.map(({ name, peer }) => `${name}=${peer}`).join(',');
  const members = await Promise.all(
    places.map(async ({ name, client, peer }) => {
      const folder = await mkdtemp(join(tmpdir(), 'ft-etcd-'));
      const url = `${options.tls === undefined ? 'http' : 'https'}://${client}`;
      const args = ['--name', name, '--data-dir', join(folder, 'data'), '--logger', 'zap', '--log-level', 'warn'];
      args.push('--listen-client-urls', url, '--advertise-client-urls', url);
      args.push('--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', cluster);
      // Alone it has nobody to wait for; several on a busy machine need the default second.
      if (count === 1) args.push('--heartbeat-interval', '20', '--election-timeout', '200');
      if (options.tls !== undefined) {
        const { ca, certificate, key } = options.tls;
        args.push('--client-cert-auth', '--trusted-ca-file', ca, '--cert-file', certificate, '--key-file', key);
      }
      return createEtcd(client, folder, [...args, ...(options.args ?? [])]);
    }),
  );
  try {
    await Promise.all(members.map((member) => member.start()));
  } catch (error) {
    await Promise.all(members.map((member) => member.stop()));
    throw error;
  }
  return members;
}

export async function startEtcd(options: EtcdOptions = {}): Promise<Etcd> {
  const [etcd] = await startEtcds(1, options);
  if (etcd === undefined) throw new FrotaError('internal', 'no etcd was started');
  return etcd;
}

function createEtcd(address: string, folder: string, args: readonly string[]): Etcd {
  let child: ChildProcess | undefined;
  const logPath = join(folder, 'log');

  async function kill(): Promise<void> {
    const ending = child;
    child = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    const ended = once(ending, 'exit');
    ending.ref();
    ending.kill('SIGKILL');
    await ended;
  }

  return {
    address,
    folder,
    pid: () => child?.pid ?? 0,
    start: async () => {
      const log = await open(logPath, 'a');
      try {
        const started = spawn('etcd', args, { stdio: ['ignore', log.fd, log.fd], env: { PATH: process.env.PATH } });
        await once(started, 'spawn');
        // A test run that ends without `stop` must not wait for it, nor leave it behind.
        started.unref();
        const killWithUs = (): void => void started.kill('SIGKILL');
        process.once('exit', killWithUs);
        started.once('exit', () => process.off('exit', killWithUs));
        child = started;
        await listening(address, started, logPath);
      } finally {
        await log.close();
      }
    },
    kill,
    stop: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Clients are let in only once the member serves reads. */
async function listening(address: string, child: ChildProcess, logPath: string): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  const port = Number(address.split(':').at(-1));
  while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
    if (await connects(port)) return;
    await sleep(20);
  }
  const log = await readFile(logPath, 'utf8').catch(() => '');
  throw new FrotaError(
    'unavailable',
    `etcd does not listen on ${address}: ${log.trim().split('\n').slice(-3).join(' | ')}`,
  );
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => {
      end(true);
    });
    socket.once('error', () => {
      end(false);
    });
  });
}

export async function freePort(): Promise<number> {
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
