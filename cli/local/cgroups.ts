/** Control groups of a local cluster, in every hierarchy of this machine (v1, hybrid or v2). */
import { readdir, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { FrotaError } from '../../proto/base/errors.ts';

export interface Hierarchy {
  readonly mountPoint: string;
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
}

/** What containers are limited by; under v2 a parent must pass these on. */
const passedOn = ['cpu', 'memory', 'pids'];
/** A kernel needs a moment between the death of the last process and a removable group. */
const removalTimeoutMs = 5_000;
const killTimeoutMs = 10_000;
const pollMs = 20;

/** From `/proc/self/mountinfo` (proc_pid_mountinfo(5)); one entry per hierarchy. */
export function hierarchiesIn(mountinfo: string): readonly Hierarchy[] {
  const found = new Map<string, Hierarchy>();
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , root, mountPoint] = left.split(' ');
    const [type, , options = ''] = right.split(' ');
    if (mountPoint === undefined || root !== '/') continue;
    if (type === 'cgroup2' && !found.has('v2')) found.set('v2', { mountPoint, version: 2, controllers: [] });
    if (type !== 'cgroup') continue;
    const controllers = options
      .split(',')
      .filter((option) => !['rw', 'ro', 'xattr', 'clone_children'].includes(option));
    const key = controllers.join(',');
    if (!found.has(key)) found.set(key, { mountPoint, version: 1, controllers });
  }
  return [...found.values()];
}

export async function hierarchies(): Promise<readonly Hierarchy[]> {
  return hierarchiesIn(await readFile('/proc/self/mountinfo', 'utf8'));
}

/** Makes the group in every hierarchy; returns its folders, into whose `cgroup.procs` a process may write itself. */
export async function ensureGroup(path: string): Promise<readonly string[]> {
  const folders: string[] = [];
  for (const hierarchy of await hierarchies()) {
    await makeIn(hierarchy, path);
    folders.push(join(hierarchy.mountPoint, path));
  }
  return folders;
}

async function makeIn(hierarchy: Hierarchy, path: string): Promise<void> {
  let folder = hierarchy.mountPoint;
  for (const part of path.split('/').filter((each) => each !== '')) {
    if (hierarchy.version === 2) await passControllersOn(folder);
    folder = join(folder, part);
    await mkdir(folder, { recursive: true });
    if (hierarchy.controllers.includes('cpuset')) await inheritCpuset(folder);
  }
}

/** Under v2 a group limits only by controllers its parent passes on; in the hybrid layout there are none to pass on. */
async function passControllersOn(folder: string): Promise<void> {
  const there = (await readFile(join(folder, 'cgroup.controllers'), 'utf8')).trim().split(' ');
  const file = join(folder, 'cgroup.subtree_control');
  const enabled = (await readFile(file, 'utf8')).trim().split(' ');
  const wanted = passedOn.filter((each) => there.includes(each) && !enabled.includes(each));
  if (wanted.length > 0) await writeFile(file, wanted.map((each) => `+${each}`).join(' '));
}

/** A fresh v1 cpuset is empty and refuses processes until it names processors and memory nodes. */
async function inheritCpuset(folder: string): Promise<void> {
  for (const name of ['cpuset.cpus', 'cpuset.mems']) {
    const own = (await readFile(join(folder, name), 'utf8')).trim();
    if (own === '') await writeFile(join(folder, name), await readFile(join(dirname(folder), name), 'utf8'));
  }
}

/** SIGKILL to every process in the group and below, in whatever hierarchy it is found. @throws FrotaError `unavailable` */
export async function killGroup(path: string): Promise<void> {
  const all = await hierarchies();
  // In whole milliseconds by polling: the clock of a test machine may jump, the number of rounds does not.
  for (let waitedMs = 0; waitedMs <= killTimeoutMs; waitedMs += pollMs) {
    const pids = new Set<number>();
    for (const { mountPoint, version } of all) {
      const folder = join(mountPoint, path);
      if (version === 2) await writeFile(join(folder, 'cgroup.kill'), '1').catch(() => undefined);
      for (const pid of await pidsBelow(folder)) pids.add(pid);
    }
    if (pids.size === 0) return;
    for (const pid of pids) sendKill(pid);
    await delay(pollMs);
  }
  throw new FrotaError('unavailable', `cgroup ${path}: processes in it do not end by SIGKILL`);
}

function sendKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

async function pidsBelow(folder: string): Promise<readonly number[]> {
  const pids: number[] = [];
  for (const each of await foldersBelow(folder)) {
    const text = await readFile(join(each, 'cgroup.procs'), 'utf8').catch(() => '');
    pids.push(...text.split('\n').filter(Boolean).map(Number));
  }
  // 0 is a process of another pid namespace: not ours, and as a target of kill(2) it would be ourselves.
  return pids.filter((pid) => pid > 0);
}

/** Processes of the group and everything below, from all hierarchies. */
export async function groupPids(path: string): Promise<readonly number[]> {
  const pids = new Set<number>();
  for (const { mountPoint } of await hierarchies()) {
    for (const pid of await pidsBelow(join(mountPoint, path))) pids.add(pid);
  }
  return [...pids];
}

/** Removes the group and everything below from every hierarchy; its processes must be gone. True if there was one. */
export async function removeGroup(path: string): Promise<boolean> {
  let found = false;
  for (const { mountPoint } of await hierarchies()) {
    for (const folder of (await foldersBelow(join(mountPoint, path))).toReversed()) {
      found = true;
      await removeFolder(folder);
    }
  }
  return found;
}

async function removeFolder(folder: string): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += pollMs) {
    try {
      await rmdir(folder);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY' || waitedMs >= removalTimeoutMs) throw FrotaError.from(error, 'unavailable');
    }
    await delay(pollMs);
  }
}

/** Parents before children; empty when there is none. */
async function foldersBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return [];
  const found = [folder];
  for (const entry of entries) if (entry.isDirectory()) found.push(...(await foldersBelow(join(folder, entry.name))));
  return found;
}
