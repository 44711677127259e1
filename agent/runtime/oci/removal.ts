/** Removes every trace of a container but its log, whatever state a crash left it in; each step may be repeated. */
import { removeTree } from '../../host/remove-tree.ts';
import { access, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../../proto/base/errors.ts';
import type { Logger } from '../../../proto/base/log.ts';
import { childCgroups, killCgroup, removeCgroup, type CgroupLayout } from '../../host/cgroups.ts';
import { isRunning, sendSignal, type ProcessIdentity } from '../../host/processes.ts';
import { run } from '../../host/programs.ts';
import { unmountBelow } from '../../host/unmount.ts';
import { findBundleProcesses } from './conmon.ts';
import type { ContainerRecord } from './container-record.ts';
import { isContainerId, type RuntimeFolders } from './folders.ts';
import type { KeptLogs } from './logs/kept-logs.ts';

export interface RemovalContext {
  readonly folders: RuntimeFolders;
  readonly layout: CgroupLayout;
  readonly bootId: string;
  readonly logger: Logger;
  /** Runtime name → program, of all that may have made a container here. */
  readonly runtimes: ReadonlyMap<string, string>;
  readonly cgroupPath: (id: string) => string;
  readonly keptLogs: KeptLogs;
}

/** conmon ends within milliseconds of its container; one that hangs is killed. */
const conmonEndMs = 2_000;
const conmonPollMs = 3;
/** conmon starts the runtime, the runtime starts itself twice: each round ends one generation. */
const maxKillRounds = 20;
/** `delete --force` takes some 10 ms; a runtime that hangs must not hang the agent. */
const deleteTimeoutMs = 10_000;

/** `record` is absent for half-made containers. Throws when something can't be removed; the folder then stays. */
export async function removeContainer(
  id: string,
  record: ContainerRecord | undefined,
  context: RemovalContext,
): Promise<void> {
  const { folders, layout } = context;
  const { folder, bundle, persist } = folders.container(id);
  // First what might still make processes, then the processes.
  if (record === undefined) await killBundleProcesses(bundle);
  await killCgroup(layout, context.cgroupPath(id));
  if (record !== undefined) {
    await sendSignal(record.process, 'SIGKILL', context.bootId);
    await endConmon(record.conmon, context.bootId);
  }
  await deleteFromRuntimes(id, context);
  await unmountBelow(folder);
  await removeCgroup(layout, context.cgroupPath(id));
  if (record !== undefined) await context.keptLogs.keep(id, record.slot ?? id, folder);
  await removeTree(folder);
  await rm(persist, { recursive: true, force: true });
  await rm(folders.exitFile(id), { force: true });
}

/** What is left of containers that have no folder any more: exit files, runtime state, cgroups. `known` are kept. */
export async function sweepStrays(
  known: ReadonlySet<string>,
  context: RemovalContext,
  cgroupRoot: string,
): Promise<void> {
  const { folders, layout, logger } = context;
  const strays = new Set<string>();
  const collect = (names: readonly string[]): void => {
    for (const name of names) if (isContainerId(name) && !known.has(name)) strays.add(name);
  };
  collect(await childCgroups(layout, cgroupRoot));
  for (const runtime of context.runtimes.keys()) collect(await namesIn(folders.runtimeRoot(runtime)));
  collect(await namesIn(folders.persists));
  for (const name of await namesIn(folders.exits)) {
    // Not only whole ids: conmon's half-written `ID.XXXXXX` too.
    if (!known.has(name) && !known.has(name.split('.')[0] ?? '')) await rm(join(folders.exits, name), { force: true });
  }
  for (const id of strays) {
    try {
      await removeContainer(id, undefined, context);
      logger.info({ container: id }, 'removed what a crash had left of a container');
    } catch (error) {
      logger.warn({ container: id, error: describeError(error) }, 'what a crash left could not be removed');
    }
  }
}

/** Again and again: one that was just killed may have started another since the look. */
async function killBundleProcesses(bundle: string): Promise<void> {
  for (let round = 0; round < maxKillRounds; round += 1) {
    const pids = await findBundleProcesses(bundle);
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    }
    await sleep(conmonPollMs);
  }
}

/** conmon ends by itself once its container has; it is given the time to write the exit file. */
async function endConmon(conmon: ProcessIdentity, bootId: string): Promise<void> {
  const deadline = performance.now() + conmonEndMs;
  while (await isRunning(conmon, bootId)) {
    if (performance.now() > deadline) {
      await sendSignal(conmon, 'SIGKILL', bootId);
      return;
    }
    await sleep(conmonPollMs);
  }
}

async function deleteFromRuntimes(id: string, context: RemovalContext): Promise<void> {
  for (const [name, program] of context.runtimes) {
    const root = context.folders.runtimeRoot(name);
    const state = join(root, id);
    if (!(await exists(state))) continue;
    try {
      await run(program, ['--root', root, 'delete', '--force', id], { timeoutMs: deleteTimeoutMs });
    } catch (error) {
      // A state file cut off by a crash; its processes are dead, the folder is all there is.
      context.logger.debug(
        { container: id, error: describeError(error) },
        'the runtime could not delete, its state goes',
      );
    }
    await rm(state, { recursive: true, force: true });
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

const namesIn = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => []);
