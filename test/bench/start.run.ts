/**
 * From `apply` to the first answer, beside what bare runc takes for the same container in the same run; scaling; and what an
 * idle agent, controller and container hold of memory.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { connectControl } from '../../cli/commands/connect.ts';
import type { Control, StackProgress } from '../../cli/commands/control.ts';
import { readContexts } from '../../cli/contexts/contexts-file.ts';
import { command, must, pidOfPart, pidsInCgroup, startTestCluster, stopTestCluster } from '../cluster/cluster.ts';
import type { TestCluster } from '../cluster/cluster.ts';
import { pushBusybox } from '../cluster/images.ts';
import { report } from './samples.ts';

const rounds = Number(process.env['ROUNDS'] ?? '20');
/** Of the server in the container and, with another, of the one under bare runc. */
const port = 8090;
const barePort = 8091;
/** busybox's own server on an empty folder: it listens some milliseconds after its start. */
const server = (onPort: number): readonly string[] => ['/bin/busybox', 'httpd', '-f', '-p', String(onPort), '-h', '/'];

let cluster: TestCluster;
let control: Control;
let image: string;
let address: string;

beforeAll(async () => {
  cluster = await startTestCluster('bench', 3);
  const context = (await readContexts(join(cluster.folder, 'config'))).contexts[cluster.name];
  if (context === undefined) throw new Error(`no context ${cluster.name}`);
  control = connectControl(context);
  image = await pushBusybox(cluster.registry);
  address = (await cluster.nodes())[0]?.address ?? '';
  // Every node has the image afterwards.
  await converge('warm', 3);
  await cluster.frota('rm', 'warm', '--wait');
}, 120_000);

afterAll(async () => {
  control.close();
  await stopTestCluster(cluster);
}, 60_000);

const compose = (name: string, replicas: number): string =>
  `name: ${name}\nservices: {web: {image: "${image}", command: ${JSON.stringify(server(port))}, ports: ["${String(port)}:${String(port)}"], stop_grace_period: 0s, deploy: {replicas: ${String(replicas)}}}}\n`;

async function converge(name: string, replicas: number): Promise<void> {
  const applied = await cluster.apply(compose(name, replicas), '--wait', '--timeout', '5m');
  expect(applied.code, applied.stderr).toBe(0);
}

/** Asks for a connection again and again until something answers. */
async function untilAnswered(host: string, onPort: number): Promise<void> {
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    if (await answersOnce(host, onPort)) return;
    await sleep(attemptPauseMs);
  }
  throw new Error(`${host}:${String(onPort)} never answered`);
}

/** Together a minute. */
const maxAttempts = 20_000;
const attemptPauseMs = 3;

const answersOnce = (host: string, onPort: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connectSocket({ host, port: onPort, timeout: 1_000 });
    const done = (answered: boolean) => (): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.on('connect', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
    socket.on('data', done(true));
    socket.on('error', done(false));
    socket.on('timeout', done(false));
    socket.on('end', done(false));
  });

it('apply → answering, one replica, image present', { timeout: rounds * 30_000 }, async () => {
  const samples: number[] = [];
  const bare: number[] = [];
  const runc = await bareContainer();
  try {
    for (let round = 0; round < rounds; round += 1) {
      const file = join(cluster.folder, 'one.yaml');
      await writeFile(file, compose('one', 1));
      const spec = (await specOf(file)).spec;
      const startedAt = performance.now();
      const applied = control.apply(spec, [], AbortSignal.timeout(30_000));
      await untilAnswered(address, port);
      samples.push(performance.now() - startedAt);
      await applied;
      expect((await cluster.frota('rm', 'one', '--wait')).code).toBe(0);
      bare.push(await runc.measure());
    }
  } finally {
    await runc.remove();
  }
  report('apply → answering', samples);
  report('bare runc: mount, create, start → answering', bare);
});

/** What `frota apply` makes of a file. */
async function specOf(file: string) {
  const { loadComposeFile } = await import('../../cli/manifest/load.ts');
  const loaded = loadComposeFile({
    file,
    text: await readFile(file, 'utf8'),
    environment: {},
    directoryName: 'bench',
    imageProblem: () => undefined,
  });
  if (loaded.kind === 'problems') throw new Error(JSON.stringify(loaded.problems));
  return loaded;
}

/** The same server under runc alone: an overlay mount, create, start; no network, no conmon. */
async function bareContainer() {
  const folder = await mkdtemp(join(tmpdir(), 'ft-bare-'));
  const at = (name: string): string => join(folder, name);
  for (const name of ['lower/bin', 'lower/proc', 'lower/dev', 'lower/sys', 'upper', 'work', 'rootfs', 'state']) {
    await mkdir(at(name), { recursive: true });
  }
  await must('cp', ['/bin/busybox', at('lower/bin/busybox')]);
  await must('runc', ['spec', '--bundle', folder]);
  const spec = JSON.parse(await readFile(at('config.json'), 'utf8')) as {
    process: { terminal: boolean; args: readonly string[]; rlimits?: unknown };
    linux: { namespaces: { type: string }[]; cgroupsPath?: string };
    root: { readonly: boolean };
  };
  spec.process = { ...spec.process, terminal: false, args: server(barePort) };
  delete spec.process.rlimits;
  spec.root.readonly = false;
  spec.linux.namespaces = spec.linux.namespaces.filter(({ type }) => type !== 'network');
  spec.linux.cgroupsPath = '/frota-bench/bare';
  await writeFile(at('config.json'), JSON.stringify(spec));
  const runc = (...args: string[]): Promise<string> => must('runc', ['--root', at('state'), ...args]);
  return {
    measure: async (): Promise<number> => {
      const startedAt = performance.now();
      const layers = `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')},volatile`;
      await must('mount', ['-t', 'overlay', 'overlay', '-o', layers, at('rootfs')]);
      // runc's create gives its output to the container, which keeps it open: it must not be a pipe that is waited for.
      await must('sh', [
        '-c',
        'exec runc --root "$0" create --bundle "$1" bare </dev/null >/dev/null 2>&1',
        at('state'),
        folder,
      ]);
      await runc('start', 'bare');
      await untilAnswered('127.0.0.1', barePort);
      const ms = performance.now() - startedAt;
      await runc('delete', '--force', 'bare');
      await must('umount', [at('rootfs')]);
      await rm(at('work'), { recursive: true, force: true });
      await mkdir(at('work'));
      return ms;
    },
    remove: async (): Promise<void> => {
      await command('runc', ['--root', at('state'), 'delete', '--force', 'bare']);
      await command('umount', [at('rootfs')]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

it('3 → 30 → 60 replicas', { timeout: 600_000 }, async () => {
  await converge('many', 3);
  for (const replicas of [30, 60]) {
    const startedAt = performance.now();
    await control.scale([{ service: 'many/web', replicas }], AbortSignal.timeout(60_000));
    await until('many', (now) => now.converged);
    report(`scale to ${String(replicas)} replicas → all running`, [performance.now() - startedAt]);
  }
  await reportMemory(60);
  await cluster.frota('rm', 'many', '--wait', '--timeout', '5m');
});

async function until(stack: string, reached: (progress: StackProgress) => boolean): Promise<void> {
  const abort = new AbortController();
  try {
    for await (const progress of control.watchStack(stack, abort.signal)) if (reached(progress)) return;
  } finally {
    abort.abort();
  }
}

/** Resident and proportional memory, once nothing happens any more. */
async function reportMemory(containers: number): Promise<void> {
  await sleep(3_000);
  const say = async (what: string, pids: readonly number[]): Promise<void> => {
    const sums = { rss: 0, pss: 0 };
    for (const pid of pids) {
      const text = await readFile(`/proc/${String(pid)}/smaps_rollup`, 'utf8').catch(() => '');
      sums.rss += Number(/^Rss:\s+(\d+)/mu.exec(text)?.[1] ?? 0);
      sums.pss += Number(/^Pss:\s+(\d+)/mu.exec(text)?.[1] ?? 0);
    }
    const miB = (kiB: number): string => (kiB / 1024 / Math.max(1, pids.length)).toFixed(1);
    process.stdout.write(
      `${what}: RSS ${miB(sums.rss)} MiB, PSS ${miB(sums.pss)} MiB each, of ${String(pids.length)}\n`,
    );
  };
  const agents = await Promise.all(['n1', 'n2', 'n3'].map((part) => pidOfPart(cluster, part)));
  const conmons: number[] = [];
  for (const part of ['n1', 'n2', 'n3']) {
    for (const pid of await pidsInCgroup(`/frota/${cluster.name}/${part}`)) {
      const name = await readFile(`/proc/${String(pid)}/comm`, 'utf8').catch(() => '');
      if (name.trim() === 'conmon') conmons.push(pid);
    }
  }
  await say(`agent with ${String(containers / 3)} containers`, agents);
  await say(`controller with 3 nodes and ${String(containers)} tasks`, [await pidOfPart(cluster, 'c1')]);
  await say('beside each container (conmon)', conmons);
}
