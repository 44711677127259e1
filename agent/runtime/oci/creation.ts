/** Makes a container: root filesystem, bundle, conmon, record. It is made whole or nothing is left of it. */
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { FrotaError, describeError } from '../../../proto/base/errors.ts';
import { procsFiles } from '../../host/cgroups.ts';
import { diskError } from '../../host/durable-file.ts';
import { identifyPid, type ProcessIdentity } from '../../host/processes.ts';
import { orNoRoom } from '../../host/room.ts';
import type { ContainerSpec } from '../runtime.ts';
import { buildBundle, type BundleFacts } from './bundle.ts';
import type { ChosenRuntime } from './choose-runtime.ts';
import { launchConmon } from './conmon.ts';
import { writeRecord, type ContainerRecord } from './container-record.ts';
import { resolveUser, type ContainerUser } from './container-user.ts';
import { createFailure } from './create-failure.ts';
import { mountOverlay } from './overlay.ts';
import { removeContainer, type RemovalContext } from './removal.ts';
import { readRootfsFile } from './rootfs-files.ts';

export interface CreationContext extends RemovalContext {
  readonly facts: BundleFacts;
  readonly runtime: ChosenRuntime;
  /** Program path. */
  readonly conmon: string;
  readonly conmonCgroup: string;
  readonly containersCgroup: string;
  /** `LogLimits.unattendedBytes` */
  readonly unattendedLogBytes: number;
}

/** Some 60 ms on an idle machine; a busy one may take seconds. */
const createTimeoutMs = 30_000;

/** Errors: `invalid` (the spec or the image is at fault), `exhausted` (disk full), `cancelled`, `deadline`, `unavailable`, `unsupported`. */
export async function makeContainer(
  spec: ContainerSpec,
  signal: AbortSignal,
  context: CreationContext,
): Promise<ContainerRecord> {
  if (signal.aborted) throw new FrotaError('cancelled', `container ${spec.id}: cancelled before it was made`);
  try {
    return await make(spec, signal, context);
  } catch (thrown) {
    const { folder } = context.folders.container(spec.id);
    const error = await orNoRoom(await diskError(thrown, folder), folder);
    try {
      await removeContainer(spec.id, undefined, context);
    } catch (left) {
      // The sweep at the next start of the agent tries again.
      context.logger.error(
        { container: spec.id, error: describeError(left) },
        'a half-made container could not be removed',
      );
    }
    throw error;
  }
}

async function make(spec: ContainerSpec, signal: AbortSignal, context: CreationContext): Promise<ContainerRecord> {
  const folders = context.folders.container(spec.id);
  const { runtime, bootId } = context;
  for (const folder of [folders.upper, folders.work, folders.rootfs, folders.bundle, folders.persist]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  // The upper folder is the container's `/`: every user of the container must be able to enter it.
  await chmod(folders.upper, 0o755);
  await rm(context.folders.exitFile(spec.id), { force: true });
  await mountOverlay(spec.lowerDirs, folders, signal);
  const bundle = buildBundle({
    spec,
    user: await lookUpUser(spec, folders.rootfs),
    rootPath: folders.rootfs,
    cgroupsPath: context.cgroupPath(spec.id),
    facts: context.facts,
  });
  await writeFile(`${folders.bundle}/config.json`, JSON.stringify(bundle));
  const launched = await launchConmon({
    id: spec.id,
    conmon: context.conmon,
    runtime: runtime.path,
    runtimeRoot: context.folders.runtimeRoot(runtime.name),
    folders,
    exits: context.folders.exits,
    cgroupFiles: procsFiles(context.layout, context.conmonCgroup),
    unattendedLogBytes: context.unattendedLogBytes,
    timeoutMs: createTimeoutMs,
    signal,
  }).catch((error: unknown) => {
    throw createFailure(spec, FrotaError.from(error, 'unavailable'));
  });
  const record: ContainerRecord = {
    version: 1,
    id: spec.id,
    slot: spec.slot,
    runtime: runtime.name,
    process: await identify(launched.pid, bootId, spec.id),
    conmon: await identify(launched.conmonPid, bootId, spec.id),
    phase: 'created',
  };
  await writeRecord(folders.record, record, false);
  return record;
}

async function lookUpUser(spec: ContainerSpec, rootfs: string): Promise<ContainerUser> {
  const [passwd, group] = await Promise.all([
    readRootfsFile(rootfs, '/etc/passwd'),
    readRootfsFile(rootfs, '/etc/group'),
  ]);
  return resolveUser(spec.user, passwd, group);
}

async function identify(pid: number, bootId: string, id: string): Promise<ProcessIdentity> {
  const identity = await identifyPid(pid, bootId);
  if (identity === undefined) {
    throw new FrotaError('unavailable', `container ${id}: process ${String(pid)} ended while the container was made`);
  }
  return identity;
}
