/** Removes every local cluster whose name begins with a prefix: what interrupted tests left. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import { hierarchies } from './cgroups.ts';
import { clusterDown } from './down.ts';
import { namespaceFolder, runRoot, stateRoot } from './place.ts';
import type { Contexts } from './ports.ts';

/** Short enough to be a slip of the finger, and it would match clusters people work with. */
const minPrefixLength = 3;

/** Returns the names of the clusters it removed. @throws FrotaError `invalid`, and what `clusterDown` throws */
export async function sweepClusters(prefix: string, contexts: Pick<Contexts, 'remove'>): Promise<readonly string[]> {
  if (prefix.length < minPrefixLength) throw new FrotaError('invalid', `"${prefix}" is too short a prefix to sweep by`);
  const names = (await traces()).filter((name) => name.startsWith(prefix));
  for (const name of names) await clusterDown({ name, volumes: true, contexts });
  return names;
}

/** Names of clusters that left anything: a folder, a namespace or a cgroup. */
async function traces(): Promise<readonly string[]> {
  const list = async (folder: string): Promise<readonly string[]> => {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  };
  const namespaces = await readdir(namespaceFolder).catch(() => []);
  const fromNamespaces = namespaces.flatMap((name) => /^frota-(.+?)-[cn][0-9]+([.-]|$)/.exec(name)?.[1] ?? []);
  const fromGroups: string[] = [];
  for (const { mountPoint } of await hierarchies()) fromGroups.push(...(await list(join(mountPoint, 'frota'))));
  const folders = [...(await list(stateRoot(process.env))), ...(await list(runRoot))];
  return [...new Set([...folders, ...fromNamespaces, ...fromGroups])].filter((name) =>
    /^[a-z0-9][a-z0-9-]*$/.test(name),
  );
}
