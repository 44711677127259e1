/** Finds out how a container ended: from conmon's exit file, or, when conmon is gone too, from what is left. */
import { statSync } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readOomKills, type CgroupLayout } from '../../host/cgroups.ts';
import { isRunning } from '../../host/processes.ts';
import type { ContainerExit } from '../runtime.ts';
import type { ContainerRecord } from './container-record.ts';
import type { RuntimeFolders } from './folders.ts';

export interface ExitContext {
  readonly folders: RuntimeFolders;
  readonly layout: CgroupLayout;
  readonly bootId: string;
  readonly cgroupPath: string;
}

/** How the container ended; undefined while it has not. */
export async function readExit(record: ContainerRecord, context: ExitContext): Promise<ContainerExit | undefined> {
  const known = await readExitFile(record, context);
  if (known !== undefined) return known;
  if (await isRunning(record.conmon, context.bootId)) return undefined;
  if (await isRunning(record.process, context.bootId)) return undefined;
  // conmon writes the file before it ends: it may have done both since the first look.
  const late = await readExitFile(record, context);
  if (late !== undefined) return late;
  const rebooted = record.process.bootId !== context.bootId;
  return {
    // Nobody saw it: told without a code, which is no success, so that a restart policy acts.
    oomKilled: await sawOom(record, context),
    finishedAtMs: Date.now(),
    reason: rebooted
      ? 'ended by a restart of its node, exit code unknown'
      : 'ended without its monitor (power cut or SIGKILL), exit code unknown',
  };
}

async function readExitFile(record: ContainerRecord, context: ExitContext): Promise<ContainerExit | undefined> {
  const path = context.folders.exitFile(record.id);
  try {
    // In memory, and looked at several times a second for each container that runs: nearly always it is not there.
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) return undefined;
    const { mtimeMs } = found;
    const text = await readFile(path, 'utf8');
    const exitCode = Number.parseInt(text, 10);
    if (Number.isNaN(exitCode)) return undefined;
    // Counted for any of its processes; one that ended well in spite of it was not ended by it.
    const oomKilled = exitCode !== 0 && (await sawOom(record, context));
    return { exitCode, oomKilled, finishedAtMs: Math.round(mtimeMs) };
  } catch {
    return undefined;
  }
}

/** The kernel's count where it can be read (the cgroup outlives the container), else what conmon noticed. */
async function sawOom(record: ContainerRecord, context: ExitContext): Promise<boolean> {
  const count = await readOomKills(context.layout, context.cgroupPath);
  if (count !== undefined) return count > 0;
  return access(join(context.folders.container(record.id).persist, 'oom')).then(
    () => true,
    () => false,
  );
}
