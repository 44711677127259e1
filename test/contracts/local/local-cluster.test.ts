import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hierarchies } from '../../../cli/local/cgroups.ts';
import {
  clusterDown,
  clusterUp,
  type ContextEntry,
  type ControlClient,
  type UpResult,
} from '../../../cli/local/index.ts';
import { isAlive, readPidRecord } from '../../../cli/local/pid-records.ts';
import { placeOf } from '../../../cli/local/place.ts';

const root = resolve(import.meta.dirname, '../../..');
const name = 'test-ft-local';
const stateRoot = mkdtempSync(join(tmpdir(), 'ft-local-'));
const bundle = join(root, 'node_modules/.cache/frota-local-test');
const installation = {
  root,
  program: join(root, 'test/fakes/stand-in-frota.mjs'),
  supervisor: join(bundle, 'main.js'),
};
const contexts = new Map<string, ContextEntry>();
const contextStore = {
  save: async (entry: ContextEntry): Promise<void> => {
    contexts.set(entry.name, entry);
  },
  remove: async (key: string): Promise<void> => {
    contexts.delete(key);
  },
};
let tokens = 0;

process.env.FROTA_STATE_DIR = stateRoot;
const place = placeOf(name, process.env);
const pidOf = (id: string): number | undefined => {
  const record = readPidRecord(join(place.runFolder, `${id}.pid`));
  return isAlive(record) ? record.pid : undefined;
};
const startedBy = (id: string): { token: string | null; pid: number; flags: Record<string, string> } =>
  JSON.parse(readFileSync(join(place.stateFolder, id, 'started.json'), 'utf8')) as never;

/** Knows a node as soon as its stand-in has started. */
const connect = (): ControlClient => ({
  createJoinToken: async () => `token-${(tokens += 1)}`,
  listNodes: async () =>
    readdirSync(place.stateFolder)
      .filter((id) => existsSync(join(place.stateFolder, id, 'started.json')))
      .map((id) => ({ name: id, state: 'ready' as const })),
  close: () => undefined,
});
const up = (options: { nodes?: number } = {}): Promise<UpResult> =>
  clusterUp({ name, wait: true, contexts: contextStore, connect, installation, ...options });
const down = (volumes: boolean) => clusterDown({ name, volumes, contexts: contextStore });

async function until(what: string, check: () => boolean, limitMs = 5_000): Promise<number> {
  const startMs = performance.now();
  while (!check()) {
    if (performance.now() - startMs > limitMs) throw new Error(`not within ${limitMs} ms: ${what}`);
    await delay(10);
  }
  return performance.now() - startMs;
}

const sh = (command: string): string => execFileSync('sh', ['-c', command], { encoding: 'utf8' });

async function leftovers(): Promise<string[]> {
  const found = sh('ip -o link; ls /run/netns 2>/dev/null; nft list tables; cat /proc/self/mountinfo')
    .split('\n')
    .filter((line) => line.includes('ft-local') || line.includes('ft_local') || line.includes(place.bridge));
  for (const { mountPoint } of await hierarchies()) {
    if (existsSync(join(mountPoint, place.cgroup))) found.push(join(mountPoint, place.cgroup));
  }
  if (existsSync(place.runFolder)) found.push(place.runFolder);
  return found;
}

beforeAll(async () => {
  await build({
    entryPoints: [join(root, 'cli/local/main.ts')],
    outfile: installation.supervisor,
    bundle: true,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    logLevel: 'error',
  });
  await down(true);
});
afterAll(async () => {
  await down(true);
  rmSync(stateRoot, { recursive: true, force: true });
  rmSync(bundle, { recursive: true, force: true });
});

describe('a local cluster', () => {
  it('starts from nothing', async () => {
    const result = await up({ nodes: 2 });
    expect(result).toMatchObject({ name, change: 'created', context: name });
    expect(result.subnet).toMatch(/^10\.89\.[1-9][0-9]*\.0\/24$/);
    expect(result.nodes.map(({ name: id, state, change }) => [id, state, change])).toEqual([
      ['n1', 'ready', 'created'],
      ['n2', 'ready', 'created'],
    ]);
    expect(contexts.get(name)).toMatchObject({ ca: 'ca', registry: result.registry });
    const { flags, token, pid } = startedBy('n2');
    expect(flags).toMatchObject({
      name: 'n2',
      address: result.nodes[1]!.address,
      'cgroup-parent': `/frota/${name}/n2`,
    });
    expect(token).toMatch(/^token-/);
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).not.toContain(token);
    expect(existsSync(join(place.stateFolder, 'n2/join-token'))).toBe(false);
  });

  it('puts each program into its namespace and its cgroups', () => {
    const pid = pidOf('n1');
    const groups = readFileSync(`/proc/${String(pid)}/cgroup`, 'utf8')
      .trim()
      .split('\n');
    for (const group of groups) expect(group).toMatch(new RegExp(`/frota/${name}/n1/agent$`));
    expect(sh(`ip netns identify ${String(pid)}`).trim()).toBe(`frota-${name}-n1`);
  });

  it('has a registry and a way out for every node', () => {
    const { registry } = contexts.get(name)!;
    const ask = `node -e 'fetch("http://${registry}/v2/").then((answer) => process.stdout.write(String(answer.status)))'`;
    expect(sh(ask)).toBe('200');
    expect(sh(`ip netns exec frota-${name}-n1 ${ask}`)).toBe('200');
    expect(sh(`ip -n frota-${name}-n1 route show default`)).toContain('default via');
  });

  it('changes nothing when all is there', async () => {
    const pids = ['supervisor', 'registry', 'c1', 'n1', 'n2'].map(pidOf);
    const startMs = performance.now();
    const result = await up();
    expect(performance.now() - startMs).toBeLessThan(3_000);
    expect(result.change).toBe('unchanged');
    expect(['supervisor', 'registry', 'c1', 'n1', 'n2'].map(pidOf)).toEqual(pids);
  });

  it.each(['n1', 'c1'])('starts %s again within a second', async (id) => {
    const before = pidOf(id)!;
    process.kill(before, 'SIGKILL');
    const ms = await until(`${id} runs again`, () => ![undefined, before].includes(pidOf(id)));
    expect(ms).toBeLessThan(1_000);
  });

  it('does not spin when a program keeps ending', async () => {
    const log = join(place.stateFolder, 'supervisor/supervisor.log');
    const starts = (): number => readFileSync(log, 'utf8').split('"part":"n2"').length;
    const before = starts();
    const endMs = performance.now() + 3_000;
    while (performance.now() < endMs) {
      const pid = pidOf('n2');
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
      await delay(20);
    }
    expect(starts() - before).toBeLessThan(8);
    await until('n2 runs again', () => pidOf('n2') !== undefined);
  });

  it('adopts what outlived a supervisor that was killed', async () => {
    const pids = ['registry', 'c1', 'n1', 'n2'].map(pidOf);
    process.kill(pidOf('supervisor')!, 'SIGKILL');
    await until('the supervisor is gone', () => pidOf('supervisor') === undefined);
    process.kill(pids[2]!, 'SIGKILL');
    const result = await up();
    expect(result.change).toBe('started');
    await until('n1 runs again', () => pidOf('n1') !== undefined);
    expect([pidOf('registry'), pidOf('c1'), pidOf('n2')]).toEqual([pids[0], pids[1], pids[3]]);
  });

  it('restores the default route when a link comes back', async () => {
    const ns = `frota-${name}-n1`;
    sh(`ip -n ${ns} link set eth0 down && ip -n ${ns} link set eth0 up`);
    await until('the default route is back', () => sh(`ip -n ${ns} route`).includes('default via'));
  });

  it('repairs a namespace that was removed', async () => {
    sh(`ip netns delete frota-${name}-n2`);
    const before = pidOf('n2');
    const result = await up();
    expect(result.nodes.map((node) => node.change)).toEqual(['unchanged', 'started']);
    expect(pidOf('n2')).not.toBe(before);
    expect(sh(`ip -n frota-${name}-n2 -br address show dev eth0`)).toContain(result.nodes[1]!.address);
  });

  it('grows, and leaves the rest when asked for fewer', async () => {
    const grown = await up({ nodes: 3 });
    expect(grown.nodes.map((node) => node.change)).toEqual(['unchanged', 'unchanged', 'created']);
    const fewer = await up({ nodes: 1 });
    expect(fewer).toMatchObject({ change: 'unchanged' });
    expect(fewer.nodes).toHaveLength(3);
  });

  it('is started once when asked by several at the same time', async () => {
    await down(false);
    const results = await Promise.all([up(), up()]);
    expect(results.map((result) => result.change).sort()).toEqual(['started', 'unchanged']);
  });

  it('comes back after SIGKILL of everything', async () => {
    for (const { mountPoint, version } of await hierarchies()) {
      if (version === 2) writeFileSync(join(mountPoint, place.cgroup, 'cgroup.kill'), '1');
    }
    await until('all are gone', () => pidOf('supervisor') === undefined && pidOf('n3') === undefined);
    const result = await up();
    expect(result.nodes.map((node) => node.state)).toEqual(['ready', 'ready', 'ready']);
  });

  it('goes without a trace, twice in a row', async () => {
    // What an agent may have left: a mount, a namespace of a container, a group with a process in it.
    const mount = join(place.runFolder, 'n1/a mount');
    mkdirSync(mount, { recursive: true });
    sh(`mount -t tmpfs none '${mount}'; ip netns add frota-${name}-n1-abc`);
    expect(await down(false)).toEqual({ name, found: true, volumesRemoved: false });
    expect(await leftovers()).toEqual([]);
    expect(existsSync(join(place.stateFolder, 'n1/started.json'))).toBe(true);
    expect(contexts.has(name)).toBe(true);
    expect(await down(true)).toEqual({ name, found: true, volumesRemoved: true });
    expect(existsSync(place.stateFolder)).toBe(false);
    expect(contexts.has(name)).toBe(false);
    expect(await down(true)).toEqual({ name, found: false, volumesRemoved: false });
  });

  it('goes also when everything was killed and files are half there', async () => {
    await up({ nodes: 1 });
    for (const { mountPoint, version } of await hierarchies()) {
      if (version === 2) writeFileSync(join(mountPoint, place.cgroup, 'cgroup.kill'), '1');
    }
    rmSync(place.runFolder, { recursive: true });
    writeFileSync(join(place.stateFolder, 'cluster.json'), '{"name":');
    await expect(up()).rejects.toThrow(/cluster\.json is damaged; run "frota cluster down/);
    expect(await down(true)).toMatchObject({ found: true });
    expect(await leftovers()).toEqual([]);
  });

  it.each([
    ['Upper', /is no name for a cluster/],
    ['a-n1', /names a node/],
    ['node', /would use the same folders/],
    ['x'.repeat(40), /at most 31 characters/],
    ['../etc', /is no name for a cluster/],
  ])('refuses the name %s', async (bad, message) => {
    await expect(clusterUp({ name: bad, wait: false, contexts: contextStore, connect, installation })).rejects.toThrow(
      message,
    );
    await expect(clusterDown({ name: bad, volumes: true, contexts: contextStore })).rejects.toThrow(message);
  });
});
