/** `frota cluster down`: removes a local cluster, running or not, whole or half there. */
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import { killGroup, removeGroup } from './cgroups.ts';
import { withLock } from './lock.ts';
import { unmountBelow } from './mounts.ts';
import { pidFileOf, registryId, supervisorId } from './parts.ts';
import { readPidRecord, stopRecorded } from './pid-records.ts';
import { controllerId, placeOf, type Place } from './place.ts';
import type { DownOptions, DownResult } from './ports.ts';
import { removeWiring } from './wiring.ts';

/** The supervisor gives agents and controller their time one after the other before it ends itself. */
const supervisorGraceMs = 35_000;
const partGraceMs = 10_000;

/**
 * Stops everything and removes processes, containers, mounts, namespaces, bridge, nftables table, cgroups and run folder;
 * with `volumes` the state folder and the context too. Needs none of the cluster's files: what is there is found by name.
 *
 * @throws FrotaError `invalid` (name), `forbidden` (not root), `unavailable` when something can not be removed
 */
export async function clusterDown(options: DownOptions): Promise<DownResult> {
  const place = placeOf(options.name, process.env);
  const say = options.onProgress ?? ((): void => undefined);
  if (process.geteuid?.() !== 0) throw new FrotaError('forbidden', 'removing a local cluster needs root');
  return withLock(`cluster-${place.name}`, async () => {
    say(`stopping cluster ${place.name}`);
    const stopped = await stopAll(place);
    const removed = await removeTraces(place);
    const hadFolders = existsSync(place.stateFolder);
    if (options.volumes) {
      await rm(place.stateFolder, { recursive: true, force: true });
      await options.contexts.remove(place.name);
    }
    return {
      name: place.name,
      found: stopped || removed || (options.volumes && hadFolders),
      volumesRemoved: options.volumes && hadFolders,
    };
  });
}

/** In order while there is someone to ask; then the cgroups tell what is left, containers above all. */
async function stopAll(place: Place): Promise<boolean> {
  const supervisor = readPidRecord(pidFileOf(place, supervisorId));
  await stopRecorded(supervisor, supervisorGraceMs);
  const pidFiles = (await readdir(place.runFolder).catch(() => [])).filter((name) => name.endsWith('.pid'));
  const ids = pidFiles.map((name) => name.slice(0, -'.pid'.length));
  const agents = ids.filter((id) => /^n[0-9]+$/.test(id));
  const stop = (id: string): Promise<void> => stopRecorded(readPidRecord(pidFileOf(place, id)), partGraceMs);
  await Promise.all(agents.map(stop));
  await stop(controllerId);
  await stop(registryId);
  await killGroup(place.cgroup);
  return ids.length > 0;
}

async function removeTraces(place: Place): Promise<boolean> {
  const wired = await removeWiring(place);
  await unmountBelow(place.runFolder);
  await unmountBelow(place.stateFolder);
  const grouped = await removeGroup(place.cgroup);
  const ran = existsSync(place.runFolder);
  // The record of a supervisor that was killed must not outlive its cluster.
  await rm(place.runFolder, { recursive: true, force: true });
  for (const file of await tokenFiles(place)) await rm(file, { force: true });
  return wired || grouped || ran;
}

/** Tokens that no node used any more: `down` without `volumes` keeps the folders, but no credential that still opens the door. */
async function tokenFiles(place: Place): Promise<readonly string[]> {
  const entries = await readdir(place.stateFolder, { withFileTypes: true }).catch(() => []);
  const folders = entries.filter((entry) => entry.isDirectory());
  return folders.map((folder) => join(place.stateFolder, folder.name, 'join-token'));
}
