/** A real local cluster for tests: `bin/frota` as a person would call it, nodes in network namespaces, a registry beside it. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { NodeView, ServiceView, TaskView } from '../../proto/domain/views.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const frotaProgram = join(root, 'bin', 'frota');

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Longest any single command of a test may take. */
const commandTimeoutMs = 120_000;

export function command(
  program: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<CommandResult> {
  return new Promise((resolve) => {
    execFile(
      program,
      args,
      { env: { ...process.env, ...environment }, timeout: commandTimeoutMs, maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
        resolve({ code, stdout, stderr });
      },
    );
  });
}

export async function must(program: string, args: readonly string[]): Promise<string> {
  const result = await command(program, args);
  if (result.code !== 0) throw new Error(`${program} ${args.join(' ')}: ${String(result.code)} ${result.stderr}`);
  return result.stdout;
}

export interface TestCluster {
  readonly name: string;
  readonly registry: string;
  /** What makes `frota` talk to this cluster. */
  readonly environment: NodeJS.ProcessEnv;
  /** A folder of the test's own; removed with the cluster. */
  readonly folder: string;
  readonly frota: (...args: string[]) => Promise<CommandResult>;
  /** Runs with `-o json`, expects success, parses. */
  readonly json: <T>(...args: string[]) => Promise<T>;
  readonly apply: (compose: string, ...args: string[]) => Promise<CommandResult>;
  readonly tasks: (...args: string[]) => Promise<readonly TaskView[]>;
  readonly services: () => Promise<readonly ServiceView[]>;
  readonly nodes: () => Promise<readonly NodeView[]>;
  readonly up: (...args: string[]) => Promise<CommandResult>;
  readonly down: (...args: string[]) => Promise<CommandResult>;
}

interface UpResult {
  readonly registry: string;
}

/** Starts `test-NAME` from nothing. The caller ends it with `stopTestCluster`, in `afterAll`, whatever happened. */
export async function startTestCluster(name: string, nodes = 3): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), `ft-${name}-`));
  const environment = { FROTA_CONFIG_DIR: join(folder, 'config'), FROTA_CONTEXT: `test-${name}`, NO_COLOR: '1' };
  const frota = (...args: string[]) => command(frotaProgram, args, environment);
  const cluster = `test-${name}`;
  await frota('cluster', 'down', cluster, '--volumes');
  const up = (...args: string[]) => frota('cluster', 'up', cluster, '--nodes', String(nodes), '--wait', ...args);
  const started = await up('-o', 'json');
  if (started.code !== 0) {
    await frota('cluster', 'down', cluster, '--volumes');
    await rm(folder, { recursive: true, force: true });
    throw new Error(`cluster ${cluster} did not start: ${started.stderr}`);
  }
  const { registry } = JSON.parse(started.stdout) as UpResult;
  const json = async <T>(...args: string[]): Promise<T> => {
    const result = await frota(...args, '-o', 'json');
    expect(result.code, `frota ${args.join(' ')}: ${result.stderr}`).toBe(0);
    return JSON.parse(result.stdout) as T;
  };
  return {
    name: cluster,
    registry,
    environment,
    folder,
    frota,
    json,
    apply: async (compose, ...args) => {
      const file = join(folder, 'compose.yaml');
      await writeFile(file, compose);
      return frota('apply', '-f', file, ...args);
    },
    tasks: (...args) => json<TaskView[]>('ps', ...args),
    services: () => json<ServiceView[]>('ls'),
    nodes: () => json<NodeView[]>('node', 'ls'),
    up,
    down: (...args) => frota('cluster', 'down', cluster, ...args),
  };
}

export async function stopTestCluster(cluster: TestCluster | undefined): Promise<void> {
  if (cluster === undefined) return;
  await cluster.down('--volumes');
  await rm(cluster.folder, { recursive: true, force: true });
}

/** Tries until `check` neither throws nor returns false; the last failure is the test's. */
export async function eventually<T>(check: () => Promise<T>, withinMs = 15_000, everyMs = 100): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    try {
      const value = await check();
      if (value !== false) return value;
      if (performance.now() > end) throw new Error(`still false after ${String(withinMs)} ms`);
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await sleep(everyMs);
  }
}

export async function httpGet(url: string, timeoutMs = 1_000): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), headers: { connection: 'close' } });
  const body = await response.text();
  if (!response.ok) throw new Error(`${url}: ${String(response.status)} ${body}`);
  return body;
}

/** Every answer seen in `rounds` new connections. */
export async function answers(url: string, rounds: number): Promise<Set<string>> {
  const seen = new Set<string>();
  for (let round = 0; round < rounds; round += 1) seen.add((await httpGet(url)).trim());
  return seen;
}

/** Pids in a node's network namespace: its agent, conmon, what they started there. */
export async function pidsOfNamespace(namespace: string): Promise<readonly number[]> {
  const result = await command('ip', ['netns', 'pids', namespace]);
  return result.stdout.split('\n').filter(Boolean).map(Number);
}

/** A machine without power computes nothing: what is started in the cgroup stands still until it is thawed. */
export const freezeCgroup = (path: string, isFrozen: boolean): Promise<void> =>
  writeCgroup(path, 'cgroup.freeze', isFrozen ? '1' : '0');

/** SIGKILL to everything that belongs to a cgroup and below, as a power cut would. */
export const killCgroup = (path: string): Promise<void> => writeCgroup(path, 'cgroup.kill', '1');

/** In the unified hierarchy, wherever the host has it. */
async function writeCgroup(path: string, file: string, text: string): Promise<void> {
  await writeFile(`/sys/fs/cgroup/unified${path}/${file}`, text).catch(() =>
    writeFile(`/sys/fs/cgroup${path}/${file}`, text),
  );
}

export function killPid(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Pids below a cgroup of the cluster, in the hierarchy that every process is in. Other clusters are never looked at. */
export async function pidsInCgroup(path: string): Promise<readonly number[]> {
  const roots = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'];
  for (const root of roots) {
    const found = await command('find', [`${root}${path}`, '-name', 'cgroup.procs']);
    if (found.code !== 0) continue;
    const files = found.stdout.split('\n').filter(Boolean);
    const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')));
    return texts.flatMap((text) => text.split('\n').filter(Boolean).map(Number));
  }
  return [];
}

/**
 * The one process of a part (`c1`, `n2`): its controller or agent. A child that it has just forked has its arguments until it
 * executes its own program, so children of what was found do not count.
 */
export async function pidOfPart(cluster: TestCluster, part: string): Promise<number> {
  const program = part.startsWith('c') ? 'controller' : 'agent';
  const parents = new Map<number, number>();
  for (const pid of await pidsInCgroup(`/frota/${cluster.name}/${part}`)) {
    const args = (await readFile(`/proc/${String(pid)}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (!args.includes(program) || !args.some((arg) => arg.endsWith('bin/frota'))) continue;
    const status = await readFile(`/proc/${String(pid)}/status`, 'utf8').catch(() => '');
    parents.set(pid, Number(/^PPid:\s*(\d+)/mu.exec(status)?.[1] ?? 0));
  }
  const pids = [...parents.keys()].filter((pid) => !parents.has(parents.get(pid) ?? 0));
  expect(pids, `${program} of ${part}`).toHaveLength(1);
  return pids[0] ?? 0;
}

/** Web servers of the cluster's containers that run, by the container's host name, which is the task's id. */
export async function containerPids(cluster: TestCluster): Promise<ReadonlyMap<string, number>> {
  const byHost = new Map<string, number>();
  for (const node of await cluster.nodes()) {
    for (const pid of await pidsInCgroup(`/frota/${cluster.name}/${node.name}/containers`)) {
      const host = await command('nsenter', ['-t', String(pid), '-u', 'hostname']);
      if (host.code === 0) byHost.set(host.stdout.trim(), pid);
    }
  }
  return byHost;
}
