/**
 * Several Compose networks on three nodes: who shares one reaches the other, from any node, by every name it has; who shares none
 * reaches neither names nor addresses; a service on two networks is at home in both; internal is internal; and names are there
 * while agents die.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TaskView } from '../../proto/domain/views.ts';
import type { Heard } from '../contracts/network/dns-client.ts';
import {
  command,
  containerPids,
  eventually,
  httpGet,
  killPid,
  must,
  pidOfPart,
  startTestCluster,
  stopTestCluster,
} from './cluster.ts';
import type { CommandResult, TestCluster } from './cluster.ts';
import { pushBusybox, serveCommand } from './images.ts';

let cluster: TestCluster;
let tasks: readonly TaskView[] = [];
/** The first process of each container, by the task's id. */
let pids: ReadonlyMap<string, number> = new Map();
let addresses: readonly string[] = [];
let redApplied: CommandResult;

/** A container's resolv.conf: five attempts, a second each. */
const resolverPatienceMs = 4_500;
const port = 8080;
const publishedOfTwo = 8091;
const publishedOfVault = 8092;

const service = (image: string, keys: string): string =>
  `{image: "${image}", command: ["sh", "-c", ${JSON.stringify(serveCommand(port))}], stop_grace_period: 0s, ${keys}}`;
const everywhere = 'deploy: {replicas: 3, placement: {max_replicas_per_node: 1}}';

const red = (image: string): string => `name: red
networks: {own: {}, commons: {name: commons}, sealed: {internal: true}}
services:
  web: ${service(image, `networks: {own: {aliases: [front]}}, ${everywhere}`)}
  two: ${service(image, `networks: {own: {aliases: [inside]}, commons: {aliases: [outside]}}, ports: ["${String(publishedOfTwo)}:${String(port)}"]`)}
  vault: ${service(image, `networks: [sealed], ports: ["${String(publishedOfVault)}:${String(port)}"], deploy: {replicas: 2, placement: {max_replicas_per_node: 1}}`)}
`;
const blue = (image: string): string => `name: blue
networks: {own: {}, commons: {external: true}}
services:
  web: ${service(image, `networks: {own: {aliases: [front]}}, ${everywhere}`)}
  guest: ${service(image, 'networks: [commons]')}
`;

beforeAll(async () => {
  cluster = await startTestCluster('networks');
  const image = await pushBusybox(cluster.registry);
  redApplied = await cluster.apply(red(image), '--wait');
  expect(redApplied.code, redApplied.stderr).toBe(0);
  const blueApplied = await cluster.apply(blue(image), '--wait');
  expect(blueApplied.code, blueApplied.stderr).toBe(0);
  tasks = await cluster.tasks();
  pids = await containerPids(cluster);
  addresses = (await cluster.nodes()).map(({ address }) => address);
  await build({
    entryPoints: [join(import.meta.dirname, '../contracts/network/dns-client.ts')],
    outfile: join(cluster.folder, 'dns-client.mjs'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
});
afterAll(() => stopTestCluster(cluster));

function taskOf(name: string, slot = 1): TaskView & { readonly address: string } {
  const found = tasks.find((task) => `${task.stack}/${task.service}` === name && task.slot === slot);
  if (found?.address === undefined || found.address === null) throw new Error(`${name}.${String(slot)} does not run`);
  return { ...found, address: found.address };
}

/** Runs a script in the container, without the agent: in its network, with its files and nothing of this process' environment. */
const entering = (task: TaskView, script: string): readonly string[] => {
  const target = ['-t', String(pids.get(task.id)), '-n', '-m', '-p', '-r', '-w'];
  return [...target, '/bin/busybox', 'env', '-i', 'PATH=/bin:/usr/bin', '/bin/busybox', 'sh', '-c', script];
};
const within = (task: TaskView, script: string): Promise<CommandResult> => command('nsenter', entering(task, script));

/** The addresses that its name server has for a name; none if it has none. */
async function lookedUp(task: TaskView, name: string): Promise<readonly string[]> {
  const { stdout } = await within(task, `nslookup -type=a ${name} 2>&1`);
  return [...stdout.matchAll(/^Address: ([\d.]+)$/gmu)].map((match) => match[1] ?? '').sort();
}

async function lookedUpByTcp(task: TaskView, name: string): Promise<readonly string[]> {
  const { stdout } = await within(task, "sed -n 's/^nameserver //p' /etc/resolv.conf");
  const program = [process.execPath, join(cluster.folder, 'dns-client.mjs'), stdout.trim(), name, 'A', 'tcp'];
  const heard = JSON.parse(await must('nsenter', ['-t', String(pids.get(task.id)), '-n', ...program])) as Heard;
  return [...heard.data].sort();
}

/** By the C library (busybox 1.35 crashes on `wget -T`): the ids of who answers there, over a few connections; empty if nobody does. */
async function reached(task: TaskView, host: string, rounds = 1): Promise<readonly string[]> {
  const once = `timeout 3 wget -q -O - http://${host}:${String(port)}/ 2>/dev/null`;
  const { stdout } = await within(task, Array.from({ length: rounds }, () => once).join('; '));
  return [...new Set(stdout.split('\n').filter(Boolean))].sort();
}

const idsOf = (name: string): readonly string[] =>
  tasks.filter((task) => `${task.stack}/${task.service}` === name).map(({ id }) => id).sort(); // prettier-ignore

it('everything that shares a network is reached from every node, by each of its names', async () => {
  for (const slot of [1, 2, 3]) {
    const asker = taskOf('red/web', slot);
    const other = taskOf('red/web', (slot % 3) + 1);
    expect(other.node).not.toBe(asker.node);
    expect(await reached(asker, 'web', 30)).toEqual(idsOf('red/web'));
    expect(await reached(asker, 'front', 2)).not.toEqual([]);
    for (const name of [`web.${String(other.slot)}`, `red-web-${String(other.slot)}`, other.id, other.address]) {
      expect(await reached(asker, name), `${name} from ${asker.node ?? ''}`).toEqual([other.id]);
    }
  }
  const asker = taskOf('red/web');
  const members = [1, 2, 3].map((slot) => taskOf('red/web', slot).address).sort();
  const [vip] = await lookedUp(asker, 'web');
  expect(await lookedUp(asker, 'front')).toEqual([vip]);
  expect(await lookedUp(asker, 'web.red')).toEqual([vip]);
  expect(await lookedUp(asker, 'tasks.web')).toEqual(members);
  expect(await lookedUpByTcp(asker, 'tasks.web')).toEqual(members);
  expect(await lookedUpByTcp(asker, 'front')).toEqual([vip]);
});

it('what shares no network has neither names nor addresses', async () => {
  const [asker, stranger] = [taskOf('red/web'), taskOf('blue/web', 2)];
  const [mine] = await lookedUp(asker, 'web');
  const [theirs] = await lookedUp(stranger, 'web');
  expect(mine).not.toBe(theirs);
  // The same words, each stack's own.
  expect(await reached(stranger, 'front', 30)).toEqual(idsOf('blue/web'));
  for (const name of ['web.blue', 'blue_web', 'blue-web-2', stranger.id, 'guest', 'tasks.guest', 'vault', 'outside']) {
    expect(await lookedUp(asker, name), name).toEqual([]);
  }
  for (const address of [stranger.address, theirs ?? '', taskOf('blue/guest').address, taskOf('red/vault').address]) {
    expect(await reached(asker, address), address).toEqual([]);
  }
  expect(await reached(stranger, asker.address)).toEqual([]);
  expect(await reached(stranger, mine ?? '')).toEqual([]);
});

it('a service on two networks reaches both and is reached from both, by the names it has in each', async () => {
  const [two, guest, web] = [taskOf('red/two'), taskOf('blue/guest'), taskOf('red/web')];
  expect(await reached(two, 'web', 30)).toEqual(idsOf('red/web'));
  expect(await reached(two, 'guest')).toEqual([guest.id]);
  const [vip] = await lookedUp(two, 'two');
  for (const [asker, alias, foreign] of [
    [web, 'inside', 'outside'],
    [guest, 'outside', 'inside'],
  ] as const) {
    expect(await lookedUp(asker, alias)).toEqual([vip]);
    expect(await reached(asker, alias)).toEqual([two.id]);
    expect(await lookedUp(asker, foreign)).toEqual([]);
  }
  // Through it there is no way from the one to the other.
  expect(await reached(guest, web.address)).toEqual([]);
  expect(await reached(web, guest.address)).toEqual([]);
});

it('internal reaches its own and nothing else, and apply says what that means for its ports', async () => {
  const [vault, other] = [taskOf('red/vault'), taskOf('red/vault', 2)];
  expect(vault.node).not.toBe(other.node);
  expect(await reached(vault, 'vault', 20)).toEqual(idsOf('red/vault'));
  expect(await reached(vault, 'red-vault-2')).toEqual([other.id]);
  const [registry = '', registryPort = ''] = cluster.registry.split(':');
  const knock = `nc -w 2 ${registry} ${registryPort} </dev/null >/dev/null 2>&1 && echo open`;
  expect((await within(vault, knock)).stdout).toBe('');
  // Not because nobody is there.
  expect((await within(taskOf('red/web'), knock)).stdout).toBe('open\n');
  expect(await lookedUp(vault, 'example.com')).toEqual([]);
  for (const address of addresses) {
    expect(await httpGet(`http://${address}:${String(publishedOfTwo)}/`)).toBe(`${taskOf('red/two').id}\n`);
    await expect(httpGet(`http://${address}:${String(publishedOfVault)}/`)).rejects.toThrow('fetch failed');
    expect(await reached(vault, address)).toEqual([]);
  }
  expect(redApplied.stderr).toMatch(
    /notice: .*services\.vault\.ports: connections to them are refused: its network red_sealed is internal/,
  );
});

it('names are looked up without a failure while the agents of their node die', async () => {
  const asker = taskOf('red/web');
  const node = asker.node ?? '';
  // By the service's name, which stands in the hosts file, and by an alias, which only the name server has.
  const script = `while :; do for name in web front; do
    timeout 15 wget -q -O /dev/null http://$name:${String(port)}/ && echo ok $name || echo failed $name
  done; done`;
  const lookups = spawn('nsenter', entering(asker, script), {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let seen = '';
  let longestAwayMs = 0;
  lookups.stdout.setEncoding('utf8').on('data', (text: string) => (seen += text));
  try {
    for (let round = 0; round < 3; round += 1) {
      await sleep(500);
      killPid(await pidOfPart(cluster, node));
      const killedAt = performance.now();
      await eventually(async () => {
        expect((await within(asker, 'timeout 1 nslookup -type=a front')).code).toBe(0);
      }, 30_000);
      longestAwayMs = Math.max(longestAwayMs, performance.now() - killedAt);
    }
    // What waits for the last agent is answered by it.
    const before = seen.length;
    await eventually(() => Promise.resolve(seen.slice(before).includes('ok front\nok web\nok front')));
  } finally {
    // The shell in the container is another process: it ends by the pipe that nobody reads any more.
    lookups.stdout.destroy();
    lookups.kill('SIGKILL');
    await once(lookups, 'close');
  }
  const lines = seen.split('\n').filter(Boolean);
  expect(lines.filter((line) => line === 'failed web')).toEqual([]);
  // On a machine so slow that the next agent comes later than that, the C library has given up.
  if (longestAwayMs < resolverPatienceMs) expect(lines.filter((line) => line === 'failed front')).toEqual([]);
  expect(lines.filter((line) => line === 'ok front').length).toBeGreaterThan(10);
});
