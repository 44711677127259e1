/**
 * The keys of a service that say what `deploy` says as well: how many, and with how much of a machine. Compose takes either place, and
 * both where they agree (compose-go `loader/normalize.go`, `types.ServiceConfig`).
 */
import { maxReplicas, minMemoryLimitBytes } from '../../proto/domain/validate.ts';
import { minCpuMillis, overReserved, readCpus, readMemory, readPids } from './deploy.ts';
import type { Deploy } from './deploy.ts';
import type { TreeEntry } from './tree.ts';
import { joinPath } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

/** @returns `deploy` with what the service's own keys add to it. */
export function withOwnKeys(
  reader: ValueReader,
  fields: ReadonlyMap<string, TreeEntry>,
  path: string,
  deploy: Deploy,
): Deploy {
  /** The value that counts; 0 in the service's own key says as much as in its twin: no limit. */
  const either = (
    key: string,
    twin: string,
    declared: number | undefined,
    read: (entry: TreeEntry) => number,
  ): number | undefined => {
    const entry = fields.get(key);
    if (entry === undefined) return declared;
    const own = read(entry);
    if (declared !== undefined && declared !== own) {
      reader.problem(entry.at, joinPath(path, key), `says something else than ${twin}; write one of the two`);
    }
    return own;
  };
  const replicas = either(
    'scale',
    'deploy.replicas',
    deploy.replicas,
    ({ value }) => reader.whole(value, joinPath(path, 'scale'), 0, maxReplicas) ?? 1,
  );
  const scale = fields.get('scale');
  if (deploy.mode === 'global' && scale !== undefined) {
    reader.problem(scale.at, joinPath(path, 'scale'), 'a global service has one task on each node; leave it out');
  }
  const twins = 'deploy.resources.limits';
  const cpuMillis = either('cpus', `${twins}.cpus`, deploy.limits.cpuMillis, (entry) =>
    readCpus(reader, entry, path, minCpuMillis),
  );
  const memoryBytes = either('mem_limit', `${twins}.memory`, deploy.limits.memoryBytes, (entry) =>
    readMemory(reader, entry, path, minMemoryLimitBytes),
  );
  const pids = either('pids_limit', `${twins}.pids`, deploy.limits.pids, (entry) => readPids(reader, entry, path));
  // In `deploy` nothing and 0 are the same.
  const reserved = deploy.reservations.memoryBytes === 0 ? undefined : deploy.reservations.memoryBytes;
  const reservedBytes = either('mem_reservation', 'deploy.resources.reservations.memory', reserved, (entry) =>
    readMemory(reader, entry, path, 0),
  );
  const limits = {
    ...(positive(cpuMillis) && { cpuMillis }),
    ...(positive(memoryBytes) && { memoryBytes }),
    ...(positive(pids) && { pids }),
  };
  const reservations = { ...deploy.reservations, memoryBytes: reservedBytes ?? 0 };
  const own = ['mem_reservation', 'mem_limit', 'cpus']
    .map((key) => fields.get(key))
    .find((entry) => entry !== undefined);
  const over = overReserved(limits, reservations).at(-1);
  if (own !== undefined && over !== undefined) {
    reader.problem(own.at, joinPath(path, own.key), `reserves more ${over} than the limit allows`);
  }
  return { ...deploy, ...(replicas !== undefined && { replicas }), limits, reservations };
}

const positive = (value: number | undefined): value is number => value !== undefined && value > 0;
