import { anywhere } from '../../proto/domain/placement.ts';
import type { Placement } from '../../proto/domain/placement.ts';
import type { RestartPolicy, ServiceSpec } from '../../proto/domain/service.ts';
import { defaultUpdatePolicy } from '../../proto/domain/update.ts';
import type { UpdatePolicy } from '../../proto/domain/update.ts';
import { readPlacement } from './placement.ts';
import { readRestartPolicy, readUpdatePolicy } from './rollouts.ts';
import { noResources } from '../../proto/domain/resources.ts';
import type { ResourceLimits, Resources } from '../../proto/domain/resources.ts';
import { maxReplicas, minMemoryLimitBytes } from '../../proto/domain/validate.ts';
import { deployKeys, limitsKeys, reservationsKeys, resourcesKeys } from './compose-keys.ts';
import { parseBytes, parseCpuMillis } from './quantities.ts';
import { shorten } from './tree.ts';
import type { TreeEntry, TreeNode } from './tree.ts';
import { joinPath, quoteFound } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

/** The kernel's scheduler gives no quota below 1 ms in 100. */
export const minCpuMillis = 10;
/** `kernel.pid_max` is no larger on 64-bit Linux. */
const maxPids = 4_194_304;

export interface Deploy {
  readonly mode: ServiceSpec['mode'];
  /** Absent: not written. */
  readonly replicas?: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly placement: Placement;
  readonly update: UpdatePolicy;
  readonly rollback: UpdatePolicy;
  /** Absent: the service's `restart` counts. */
  readonly restart?: RestartPolicy;
  readonly limits: ResourceLimits;
  readonly reservations: Resources;
}

export const defaultDeploy: Deploy = {
  mode: 'replicated',
  labels: {},
  placement: anywhere,
  update: defaultUpdatePolicy,
  rollback: defaultUpdatePolicy,
  limits: {},
  reservations: noResources,
};

export function readDeploy(reader: ValueReader, node: TreeNode, path: string): Deploy {
  // The schema allows `deploy:` with nothing in it.
  if (node.kind === 'scalar' && node.value === null) return defaultDeploy;
  const fields = reader.fields(node, path, deployKeys);
  if (fields === undefined) return defaultDeploy;
  const at = (key: string): string => joinPath(path, key);
  const value = (key: string): TreeNode | undefined => fields.get(key)?.value;
  const mode = readMode(reader, value('mode'), at('mode'));
  const replicas = value('replicas');
  if (mode === 'global' && replicas !== undefined) {
    reader.problem(replicas, at('replicas'), 'a global service has one task on each node; leave it out');
  }
  const resources = value('resources');
  const labels = value('labels');
  const restart = value('restart_policy');
  checkEndpointMode(reader, value('endpoint_mode'), at('endpoint_mode'));
  return {
    ...(resources === undefined ? defaultDeploy : readResources(reader, resources, at('resources'))),
    mode,
    ...(replicas !== undefined && { replicas: reader.whole(replicas, at('replicas'), 0, maxReplicas) ?? 1 }),
    labels: labels === undefined ? {} : reader.pairs(labels, at('labels'), () => ''),
    placement: readPlacement(reader, value('placement'), at('placement')),
    update: readUpdatePolicy(reader, value('update_config'), at('update_config'), 'update'),
    rollback: readUpdatePolicy(reader, value('rollback_config'), at('rollback_config'), 'rollback'),
    ...(restart !== undefined && { restart: readRestartPolicy(reader, restart, at('restart_policy')) }),
  };
}

function readMode(reader: ValueReader, node: TreeNode | undefined, path: string): ServiceSpec['mode'] {
  const mode = reader.oneOf(node, path, ['replicated', 'global', 'replicated-job', 'global-job'] as const);
  if (mode === undefined || mode === 'replicated' || mode === 'global') return mode ?? 'replicated';
  const hint = 'write "replicated" or "global" with restart_policy: {condition: on-failure}';
  reader.problem(node ?? { line: 1, column: 1 }, path, `"${mode}" is not supported by this version of Frota; ${hint}`);
  return 'replicated';
}

function checkEndpointMode(reader: ValueReader, node: TreeNode | undefined, path: string): void {
  if (reader.oneOf(node, path, ['vip', 'dnsrr'] as const) !== 'dnsrr' || node === undefined) return;
  reader.problem(
    node,
    path,
    '"dnsrr" is not supported by this version of Frota; the name tasks.SERVICE answers with every task',
  );
}

function readResources(reader: ValueReader, node: TreeNode, path: string): Pick<Deploy, 'limits' | 'reservations'> {
  const fields = reader.fields(node, path, resourcesKeys);
  const limitsNode = fields?.get('limits')?.value;
  const reservationsNode = fields?.get('reservations')?.value;
  const limits = limitsNode === undefined ? {} : readLimits(reader, limitsNode, joinPath(path, 'limits'));
  if (reservationsNode === undefined) return { limits, reservations: noResources };
  const reservationsPath = joinPath(path, 'reservations');
  const reservations = readReservations(reader, reservationsNode, reservationsPath);
  for (const key of overReserved(limits, reservations)) {
    reader.problem(reservationsNode, joinPath(reservationsPath, key), `reserves more than limits.${key} allows`);
  }
  return { limits, reservations };
}

/** Of what more is reserved than the limit allows. */
export function overReserved(limits: ResourceLimits, reservations: Resources): readonly ('cpus' | 'memory')[] {
  const { cpuMillis = Infinity, memoryBytes = Infinity } = limits;
  return [
    ...(reservations.cpuMillis > cpuMillis ? (['cpus'] as const) : []),
    ...(reservations.memoryBytes > memoryBytes ? (['memory'] as const) : []),
  ];
}

function readLimits(reader: ValueReader, node: TreeNode, path: string): ResourceLimits {
  const fields = reader.fields(node, path, limitsKeys);
  const cpuMillis = readCpus(reader, fields?.get('cpus'), path, minCpuMillis);
  const memoryBytes = readMemory(reader, fields?.get('memory'), path, minMemoryLimitBytes);
  const pids = readPids(reader, fields?.get('pids'), path);
  // Zero means no limit, as in Docker.
  return {
    ...(cpuMillis > 0 && { cpuMillis }),
    ...(memoryBytes > 0 && { memoryBytes }),
    ...(pids > 0 && { pids }),
  };
}

function readReservations(reader: ValueReader, node: TreeNode, path: string): Resources {
  const fields = reader.fields(node, path, reservationsKeys);
  return {
    cpuMillis: readCpus(reader, fields?.get('cpus'), path, 0),
    memoryBytes: readMemory(reader, fields?.get('memory'), path, 0),
  };
}

export function readCpus(reader: ValueReader, entry: TreeEntry | undefined, parent: string, min: number): number {
  if (entry === undefined) return 0;
  const path = joinPath(parent, entry.key);
  const expected = 'a number of cores such as "0.5"';
  const text = reader.stringOrNumber(entry.value, path, expected);
  if (text === undefined) return 0;
  const millis = parseCpuMillis(text);
  if (millis === undefined) {
    reader.problem(entry.value, path, `expected ${expected}, found ${quoteFound(entry.value, text)}`);
  } else if (Number(text) > 0 && millis < min) {
    reader.problem(entry.value, path, `the least that can be enforced is ${String(min / 1000)} cores`);
  }
  return millis ?? 0;
}

export function readMemory(reader: ValueReader, entry: TreeEntry | undefined, parent: string, min: number): number {
  if (entry === undefined) return 0;
  const path = joinPath(parent, entry.key);
  const expected = 'a size such as "64M" or "1g"';
  // The schema has a number of bytes for the service's own keys, and text alone under `deploy`.
  const own = entry.key !== 'memory';
  const text = own ? reader.stringOrNumber(entry.value, path, expected) : reader.string(entry.value, path, expected);
  if (text === undefined) return 0;
  const bytes = parseBytes(text);
  if (bytes === undefined) {
    reader.problem(entry.value, path, `expected ${expected}, found ${quoteFound(entry.value, text)}`);
  } else if (bytes > 0 && bytes < min) {
    reader.problem(entry.value, path, `${shorten(text)} is too little to start a container; write 6M or more`);
  }
  return bytes ?? 0;
}

export function readPids(reader: ValueReader, entry: TreeEntry | undefined, parent: string): number {
  if (entry === undefined) return 0;
  const { value } = entry;
  // Docker's way to say "no limit".
  if (value.kind === 'scalar' && value.source === '-1') return 0;
  return reader.whole(value, joinPath(parent, entry.key), 0, maxPids) ?? 0;
}
