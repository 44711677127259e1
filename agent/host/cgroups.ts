/**
 * Control groups in all three layouts a host may have: v2, v1, and v1 with an empty v2 tree beside it (hybrid).
 * A cgroup is named by its path below each hierarchy's mount (`/frota-n1/containers/ID`), the same in all of them.
 * Source: kernel `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/`.
 */
import { mkdir, readFile, readdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FrotaError } from '../../proto/base/errors.ts';
import { parseMountinfo } from './mounts.ts';

export interface CgroupLayout {
  readonly kind: 'v1' | 'hybrid' | 'v2';
  /** Mount point of the v2 tree; in `hybrid` it carries processes but none of the controllers used here. */
  readonly unified?: string;
  /** v1 controller (`memory`, `cpu`, `name=systemd`) → mount point of its hierarchy. */
  readonly controllers: ReadonlyMap<string, string>;
}

/** Options of a v1 cgroup mount that name no controller. */
const nonControllerOptions = new Set(['rw', 'ro', 'xattr', 'clone_children', 'noprefix', 'none', 'cpuset_v2_mode']);
/** Controllers that containers are limited by; on v2 they are handed down the tree. */
const usedControllers = ['cpu', 'memory', 'pids'];
/** A killed cgroup empties within milliseconds; a process stuck in the kernel must not hold the agent longer. */
const killDeadlineMs = 5_000;
/** Dead processes leave their cgroup a moment after they die. */
const removeDeadlineMs = 2_000;
const retryMs = 5;

/** The layout told by the text of `/proc/self/mountinfo`; `unsupported` if no cgroup tree is mounted. */
export function parseCgroupLayout(mountinfo: string): CgroupLayout {
  const controllers = new Map<string, string>();
  let unified: string | undefined;
  for (const mount of parseMountinfo(mountinfo)) {
    if (mount.type === 'cgroup2') unified ??= mount.mountPoint;
    if (mount.type !== 'cgroup') continue;
    for (const option of mount.superOptions) {
      const named = option.startsWith('name=');
      if (!named && (nonControllerOptions.has(option) || option.includes('='))) continue;
      if (!controllers.has(option)) controllers.set(option, mount.mountPoint);
    }
  }
  if (controllers.size > 0) {
    return unified === undefined ? { kind: 'v1', controllers } : { kind: 'hybrid', unified, controllers };
  }
  if (unified !== undefined) return { kind: 'v2', unified, controllers };
  throw new FrotaError(
    'unsupported',
    'no cgroup tree is mounted here; mount cgroup2 on /sys/fs/cgroup ("ip netns exec" hides it: enter a namespace with "nsenter --net=/run/netns/NAME" instead)',
  );
}

export async function detectCgroupLayout(): Promise<CgroupLayout> {
  return parseCgroupLayout(await readFile('/proc/self/mountinfo', 'utf8'));
}

/** The folder of cgroup `path` in every hierarchy. */
export function cgroupFolders(layout: CgroupLayout, path: string): readonly string[] {
  const mounts = new Set(layout.controllers.values());
  if (layout.unified !== undefined) mounts.add(layout.unified);
  return [...mounts].map((mount) => join(mount, path));
}

/** The folder where `controller` governs cgroup `path`; undefined if this host lacks it. */
export function controllerFolder(layout: CgroupLayout, controller: string, path: string): string | undefined {
  const mount = layout.kind === 'v2' ? layout.unified : layout.controllers.get(controller);
  return mount === undefined ? undefined : join(mount, path);
}

/**
 * Makes the cgroup in every hierarchy, parents too, ready to hold processes. On v2 the controllers are handed down
 * to all ancestors' children, so no ancestor but the root may hold processes itself.
 */
export async function makeCgroup(layout: CgroupLayout, path: string): Promise<void> {
  for (const folder of cgroupFolders(layout, path)) await mkdir(folder, { recursive: true });
  if (layout.kind === 'v2') await handDown(layout, path);
  const cpuset = layout.controllers.get('cpuset');
  if (cpuset !== undefined) await inheritCpuset(cpuset, path);
}

/**
 * On v2 a cgroup that hands controllers down may hold no processes itself ("no internal processes", cgroup-v2.rst).
 * Throws `conflict` when this one does; on v1 anything goes.
 */
export async function refuseInnerProcesses(layout: CgroupLayout, path: string): Promise<void> {
  if (layout.kind !== 'v2' || join('/', path) === '/') return;
  const pids = (await readOrEmpty(join(layout.unified ?? '', path, 'cgroup.procs'))).trim().split('\n').join(', ');
  if (pids === '') return;
  const advice = 'no limits can be set below it; start the agent in its own cgroup inside';
  throw new FrotaError(
    'conflict',
    `cgroup ${path} holds processes itself (${pids}): ${advice}, ${join(path, 'agent')}`,
  );
}

/** Of the cgroup, one in every hierarchy: a process that writes 0 or its pid there, or whose pid is written there, moves. */
export const procsFiles = (layout: CgroupLayout, path: string): readonly string[] =>
  cgroupFolders(layout, path).map((folder) => join(folder, 'cgroup.procs'));

/** Moves a process, with all its threads, into the cgroup in every hierarchy. */
export async function moveToCgroup(layout: CgroupLayout, path: string, pid: number): Promise<void> {
  const text = String(pid);
  await Promise.all(procsFiles(layout, path).map((file) => writeFile(file, text)));
}

/** Processes of the cgroup and of all below it, in any hierarchy. Empty if it does not exist. */
export async function cgroupPids(layout: CgroupLayout, path: string): Promise<readonly number[]> {
  const pids = new Set<number>();
  for (const root of cgroupFolders(layout, path)) {
    for (const folder of await foldersBelow(root)) {
      const text = await readOrEmpty(join(folder, 'cgroup.procs'));
      for (const line of text.split('\n')) {
        const pid = Number(line);
        if (pid > 0) pids.add(pid);
      }
    }
  }
  return [...pids];
}

/**
 * Kills every process of the cgroup and of all below it, and waits until they are gone. No error if it does not exist.
 * `cgroup.kill` does it at one stroke; without it the processes are frozen first, so that none forks away.
 * Throws `deadline` when some do not end.
 */
export async function killCgroup(layout: CgroupLayout, path: string): Promise<void> {
  const killFile = layout.unified === undefined ? undefined : join(layout.unified, path, 'cgroup.kill');
  const killedAtOnce = killFile !== undefined && (await tryWrite(killFile, '1'));
  const freezer = killedAtOnce ? undefined : controllerFolder(layout, 'freezer', path);
  const deadline = performance.now() + killDeadlineMs;
  for (;;) {
    const pids = await cgroupPids(layout, path);
    if (pids.length === 0) return;
    if (performance.now() > deadline) {
      const shown = pids.slice(0, 5).join(', ');
      throw new FrotaError('deadline', `cgroup ${path}: processes do not end after SIGKILL: ${shown}`);
    }
    if (freezer !== undefined) await tryWrite(join(freezer, 'freezer.state'), 'FROZEN');
    for (const pid of await cgroupPids(layout, path)) killIfThere(pid);
    if (freezer !== undefined) await tryWrite(join(freezer, 'freezer.state'), 'THAWED');
    await sleep(retryMs);
  }
}

/** How often the kernel killed a process of this cgroup for lack of memory; undefined if that can't be read. */
export async function readOomKills(layout: CgroupLayout, path: string): Promise<number | undefined> {
  const folder = controllerFolder(layout, 'memory', path);
  if (folder === undefined) return undefined;
  const file = layout.kind === 'v2' ? 'memory.events' : 'memory.oom_control';
  return parseOomKills(await readOrEmpty(join(folder, file)));
}

/** The `oom_kill` line of `memory.events` (v2) or `memory.oom_control` (v1, Linux 4.13 and later). */
export function parseOomKills(text: string): number | undefined {
  const match = /^oom_kill (\d+)$/m.exec(text);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

/** Removes the cgroup and all below it from every hierarchy. Its processes must be dead. No error if it is not there. */
export async function removeCgroup(layout: CgroupLayout, path: string): Promise<void> {
  await Promise.all(cgroupFolders(layout, path).map((folder) => removeFolders(folder)));
}

/** Names of the cgroups directly below `path`, in any hierarchy. */
export async function childCgroups(layout: CgroupLayout, path: string): Promise<readonly string[]> {
  const names = new Set<string>();
  for (const folder of cgroupFolders(layout, path)) {
    for (const name of await subfolders(folder)) names.add(name);
  }
  return [...names];
}

async function removeFolders(root: string): Promise<void> {
  const folders = (await foldersBelow(root)).toReversed();
  const deadline = performance.now() + removeDeadlineMs;
  for (const folder of folders) {
    for (;;) {
      try {
        await rmdir(folder);
        break;
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === 'ENOENT') break;
        if (code !== 'EBUSY' || performance.now() > deadline) {
          throw new FrotaError('conflict', `cgroup ${folder} can't be removed: ${String(code)}`, { cause: error });
        }
        await sleep(retryMs);
      }
    }
  }
}

/** `root` and every folder below it, parents first; empty if it does not exist. */
async function foldersBelow(root: string): Promise<string[]> {
  const found: string[] = [];
  const queue = [root];
  for (let folder = queue.shift(); folder !== undefined; folder = queue.shift()) {
    let children: readonly string[];
    try {
      children = await subfolders(folder, true);
    } catch {
      continue;
    }
    found.push(folder);
    for (const child of children) queue.push(join(folder, child));
  }
  return found;
}

async function subfolders(folder: string, mustExist = false): Promise<readonly string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (mustExist || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [];
  }
}

async function handDown(layout: CgroupLayout, path: string): Promise<void> {
  let folder = layout.unified ?? '';
  const wanted = usedControllers.map((name) => `+${name}`);
  for (const part of path.split('/').filter((each) => each !== '')) {
    // One at a time: a controller that this kernel lacks must not keep the others back.
    for (const each of wanted) await tryWrite(join(folder, 'cgroup.subtree_control'), each);
    folder = join(folder, part);
  }
}

/** A new v1 cpuset is empty and takes no process until it is given what its parent has. */
async function inheritCpuset(mount: string, path: string): Promise<void> {
  let folder = mount;
  for (const part of path.split('/').filter((each) => each !== '')) {
    const parent = folder;
    folder = join(folder, part);
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if ((await readOrEmpty(join(folder, file))).trim() !== '') continue;
      await tryWrite(join(folder, file), (await readOrEmpty(join(parent, file))).trim());
    }
  }
}

async function tryWrite(file: string, text: string): Promise<boolean> {
  try {
    // Without O_CREAT: a cgroup file is there or it is not.
    await writeFile(file, text, { flag: 'r+' });
    return true;
  } catch {
    return false;
  }
}

async function readOrEmpty(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return '';
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended in the meantime, which is what was wanted.
  }
}
