/**
 * Agents killed at any moment of a task's life: while they pull, unpack, create, start, stop. Afterwards what is declared
 * runs, and nothing is left that nobody needs. The moments are drawn from a seed, which a failure prints.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { busyboxImage } from '../builders/oci-image.ts';
import {
  command,
  eventually,
  killPid,
  must,
  pidOfPart,
  pidsInCgroup,
  startTestCluster,
  stopTestCluster,
} from './cluster.ts';
import type { TestCluster } from './cluster.ts';
import { serveCommand } from './images.ts';

/** Enough for a CI run; `ROUNDS=20` and more by hand (nine seconds each). */
const rounds = Number(process.env['ROUNDS'] ?? '8');
const seed = Number(process.env['SEED'] ?? String(Date.now() % 1_000_000));
const nodes = ['n1', 'n2'];
/** A cold start takes about this long here, so that kills fall into every part of it. */
const longestDelayMs = 900;
/** Enough that pulling and unpacking take a while. */
const layerBytes = 6 * 1024 * 1024;

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await startTestCluster('crash', nodes.length);
});
afterAll(() => stopTestCluster(cluster));

/** mulberry32: small, and the same on every machine. */
function drawn(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An image that no node has, with a layer of its own. */
async function freshImage(round: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ft-crash-'));
  try {
    const content = randomBytes(layerBytes);
    await busyboxImage(folder, { extraLayers: [{ entries: [{ type: 'file', path: 'ballast', content }] }] });
    const reference = `${cluster.registry}/test/crash:${String(round)}`;
    await must('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', `oci:${folder}`, `docker://${reference}`]);
    return reference;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const compose = (image: string, replicas: number): string => `
name: crash
services:
  web:
    image: ${image}
    command: ["sh", "-c", ${JSON.stringify(serveCommand(8080))}]
    ports: ["8080:8080"]
    stop_grace_period: 1s
    deploy: {replicas: ${String(replicas)}, update_config: {parallelism: 0}}
`;

async function killAgentAfter(delayMs: number, node: string): Promise<void> {
  await sleep(delayMs);
  killPid(await pidOfPart(cluster, node));
}

async function runsAsDeclared(image: string, replicas: number, round: string): Promise<void> {
  await eventually(
    async () => {
      const tasks = await cluster.tasks();
      const states = tasks.map((task) => [task.state, task.image]);
      expect(states, round).toEqual(Array.from({ length: replicas }, () => ['running', image]));
    },
    45_000,
    200,
  );
}

describe('an agent killed at any moment', () => {
  it(`${String(rounds)} rounds`, { timeout: 60_000 + rounds * 50_000 }, async () => {
    const random = drawn(seed);
    for (let round = 0; round < rounds; round += 1) {
      const node = nodes[round % nodes.length] ?? '';
      const delayMs = Math.round(random() * longestDelayMs);
      const what = `seed ${String(seed)}, round ${String(round)}: ${node} killed after ${String(delayMs)} ms`;
      const image = await freshImage(round);
      // Every other round stops tasks as well: the new version has fewer of them.
      const replicas = round % 2 === 0 ? 4 : 2;
      const [applied] = await Promise.all([cluster.apply(compose(image, replicas)), killAgentAfter(delayMs, node)]);
      expect(applied.code, `${what}: ${applied.stderr}`).toBe(0);
      await runsAsDeclared(image, replicas, what);
    }
    const removed = await cluster.frota('rm', 'crash', '--wait');
    expect(removed.code, removed.stderr).toBe(0);
    for (const node of nodes) await eventually(() => nothingIsLeft(node), 15_000, 200);
  });
});

/** No mount, namespace, cgroup, process, rule or folder of a container on the node. */
async function nothingIsLeft(node: string): Promise<void> {
  const dataFolder = `/var/lib/frota/clusters/${cluster.name}/${node}`;
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n');
  expect(mounts.filter((line) => line.includes(`${dataFolder}/containers/`))).toEqual([]);
  const namespaces = (await must('ip', ['netns', 'list'])).split('\n');
  const stem = `frota-${cluster.name}-${node}.`;
  const own = namespaces.flatMap((line) => (line.startsWith(stem) ? [line.split(' ')[0]?.slice(stem.length)] : []));
  // What is made ahead of need is in the node's book, and nothing else is.
  const book = JSON.parse(await readFile(join(dataFolder, 'network/leases.json'), 'utf8')) as {
    tasks: Record<string, { state: string }>;
  };
  expect(Object.values(book.tasks).filter(({ state }) => state !== 'spare')).toEqual([]);
  const spares = Object.keys(book.tasks).sort();
  expect(own.sort()).toEqual(spares);
  expect(await pidsInCgroup(`/frota/${cluster.name}/${node}/containers`)).toEqual([]);
  for (const folder of ['containers', 'files']) {
    expect(await readdir(join(dataFolder, folder)).catch(() => []), folder).toEqual([]);
  }
  // Unfinished downloads and half-unpacked layers.
  const partial = await command('find', [dataFolder, '-path', '*tmp*', '-type', 'f']);
  expect(partial.stdout).toBe('');
  const links = await must('ip', ['-n', `frota-${cluster.name}-${node}`, '-o', 'link', 'show', 'type', 'veth']);
  // Its own uplink and the spare ones are the only pairs that are left.
  expect(links.split('\n').filter((line) => / frv[0-9a-f]{8}[@:]/.test(line))).toHaveLength(spares.length);
  expect(links.split('\n').filter((line) => line !== '' && !/eth0| frv/.test(line))).toEqual([]);
  const table = await must('ip', ['netns', 'exec', `frota-${cluster.name}-${node}`, 'nft', 'list', 'ruleset']);
  expect(table).not.toContain('dport 8080');
  expect(table).not.toContain('crash/web');
}
