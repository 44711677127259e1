/** A node's worth of runtime on this host: a busybox image, a network namespace, folders and a cgroup of its own. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../proto/base/log.ts';
import {
  cgroupPids,
  detectCgroupLayout,
  killCgroup,
  removeCgroup,
  type CgroupLayout,
} from '../../../agent/host/cgroups.ts';
import { mountsBelow } from '../../../agent/host/mounts.ts';
import { createOciRuntime, type OciRuntime, type OciRuntimeOptions } from '../../../agent/runtime/oci/oci-runtime.ts';
import type { ContainerExit, ContainerSpec } from '../../../agent/runtime/runtime.ts';

export interface Fixture {
  readonly folder: string;
  readonly rootfs: string;
  readonly options: OciRuntimeOptions;
  readonly layout: CgroupLayout;
  /** A new runtime over the same folders, as a restarted agent would make it. */
  open(): Promise<OciRuntime>;
  spec(id: string, args: readonly string[], more?: Partial<ContainerSpec>): ContainerSpec;
  /** What is left on the host: mounts, cgroups below `containers`, processes and folders. */
  traces(): Promise<{ mounts: readonly string[]; pids: readonly number[]; cgroups: string[]; folders: string[] }>;
  close(): Promise<void>;
}

const applets = ['sh', 'sleep', 'cat', 'id', 'env', 'pwd', 'hostname', 'kill', 'ls', 'stat', 'head', 'mount', 'touch', 'grep', 'dd', 'tail', 'unshare']; // prettier-ignore

export async function makeFixture(name: string, more: Partial<OciRuntimeOptions> = {}): Promise<Fixture> {
  const folder = mkdtempSync(join(tmpdir(), `ft-runtime-${name}-`));
  const unique = `ft-rt-${name}-${String(process.pid)}`;
  const netns = unique;
  const cgroupParent = `/${unique}`;
  const layout = await detectCgroupLayout();
  const rootfs = makeRootfs(join(folder, 'image'));
  execFileSync('ip', ['netns', 'add', netns]);
  const options: OciRuntimeOptions = {
    dataDir: join(folder, 'data'),
    runDir: join(folder, 'run'),
    cgroupParent,
    logger: silentLogger,
    exitPollMs: 200,
    ...more,
    ...forcedRuntime(process.env.FROTA_TEST_OCI_RUNTIME),
  };
  const opened: OciRuntime[] = [];
  return {
    folder,
    rootfs,
    options,
    layout,
    open: async () => {
      const runtime = await createOciRuntime(options);
      opened.push(runtime);
      return runtime;
    },
    spec: (id, args, more = {}) => ({
      id,
      slot: `test/${id}.1`,
      lowerDirs: [rootfs],
      args,
      environment: [],
      workingDir: '/',
      user: '',
      hostname: id,
      labels: {},
      limits: { pids: 64 },
      networkNamespace: `/run/netns/${netns}`,
      files: [],
      mounts: [],
      ...more,
    }),
    traces: async () => ({
      mounts: await mountsBelow(options.dataDir),
      pids: await cgroupPids(layout, cgroupParent),
      cgroups: cgroupNames(layout, join(cgroupParent, 'containers')),
      folders: [
        ...listOf(join(options.dataDir, 'containers')),
        ...listOf(join(options.runDir, 'exits')),
        ...listOf(join(options.runDir, 'persist')),
        ...listOf(join(options.runDir, 'runc')),
        ...listOf(join(options.runDir, 'crun')),
      ],
    }),
    close: async () => {
      await Promise.all(opened.map((runtime) => runtime.close()));
      await killCgroup(layout, cgroupParent);
      for (const point of await mountsBelow(folder)) execFileSync('umount', ['-l', point]);
      await removeCgroup(layout, cgroupParent);
      execFileSync('ip', ['netns', 'del', netns]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The suite runs on either runtime; absent: the one that the adapter chooses. */
function forcedRuntime(name: string | undefined): Pick<OciRuntimeOptions, 'runtime'> {
  return name === 'runc' || name === 'crun' ? { runtime: name } : {};
}

/** A root filesystem with nothing but a static busybox. */
function makeRootfs(folder: string): string {
  const bin = join(folder, 'bin');
  for (const each of ['bin', 'etc', 'tmp', 'home']) mkdirSync(join(folder, each), { recursive: true });
  copyFileSync('/bin/busybox', join(bin, 'busybox'));
  for (const applet of applets) symlinkSync('busybox', join(bin, applet));
  writeFileSync(join(folder, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nana:x:1000:1001::/home/ana:/bin/sh\n');
  writeFileSync(join(folder, 'etc/group'), 'root:x:0:\nana:x:1001:\nboats:x:1002:ana,rui\nsails:x:1003:ana\n');
  return folder;
}

/** Waits for the end of `id`; only one listener per call, so call it before the container can end. */
export function exitOf(runtime: OciRuntime, id: string, timeoutMs = 10_000): Promise<ContainerExit> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`container ${id} did not end within ${String(timeoutMs)} ms`));
    }, timeoutMs);
    runtime.onExit((ended, exit) => {
      if (ended !== id) return;
      clearTimeout(timer);
      resolve(exit);
    });
  });
}

/** Creates, starts, waits for the end, and returns it with what was written. */
export async function runToEnd(
  runtime: OciRuntime,
  spec: ContainerSpec,
): Promise<{ readonly exit: ContainerExit; readonly output: string }> {
  const ended = exitOf(runtime, spec.id, 20_000);
  ended.catch(() => undefined);
  await runtime.create(spec, new AbortController().signal);
  await runtime.start(spec.id);
  const exit = await ended;
  return { exit, output: await runtime.lastOutput(spec.id) };
}

export const listOf = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);

export const readText = (path: string): string => readFileSync(path, 'utf8');

function cgroupNames(layout: CgroupLayout, path: string): string[] {
  const mounts = new Set(layout.controllers.values());
  if (layout.unified !== undefined) mounts.add(layout.unified);
  return [...mounts].flatMap((mount) => {
    const root = join(mount, path);
    return existsSync(root)
      ? readdirSync(root, { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .map((entry) => join(root, entry.name))
      : [];
  });
}
