/** The programs a local cluster is made of, and how each one is started. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Launch } from './launch.ts';
import {
  addressesIn,
  controllerId,
  controlPort,
  joinPort,
  livenessPort,
  namespaceOf,
  registryPort,
  stateFolderOf,
  type Place,
} from './place.ts';
import type { ClusterRecord } from './record.ts';

/** `id`: `registry`, `c1`, `n1`… Folders, pid file and log are named after it. */
export interface Part {
  readonly id: string;
  readonly launch: Launch;
}

export const supervisorId = 'supervisor';
export const registryId = 'registry';

export const pidFileOf = (place: Place, id: string): string => join(place.runFolder, `${id}.pid`);
/** The controller's folder is `controller`, a node's is its name. */
export const folderOf = (place: Place, id: string): string =>
  join(place.stateFolder, id === controllerId ? 'controller' : id);
export function logFileOf(place: Place, id: string): string {
  const name = id === controllerId ? 'controller' : /^n[0-9]+$/.test(id) ? 'agent' : id;
  return join(folderOf(place, id), `${name}.log`);
}

export const adminContextFile = (place: Place): string => join(folderOf(place, controllerId), 'admin-context.json');
export const tokenFileOf = (place: Place, id: string): string => join(folderOf(place, id), 'join-token');
export const registryConfigFile = (place: Place): string => join(place.stateFolder, registryId, 'config.yml');
/** The node's own group: the agent runs in `agent` below it and makes its siblings for containers. */
export const groupOf = (place: Place, id: string): string => `${place.cgroup}/${id}`;

/** Registry and controller first; they are stopped last. */
export function partsOf(place: Place, record: ClusterRecord, env: NodeJS.ProcessEnv): readonly Part[] {
  return [
    registryPart(place, env),
    controllerPart(place, record, env),
    ...record.nodes.map((id) => agentPart(place, record, id, env)),
  ];
}

function registryPart(place: Place, env: NodeJS.ProcessEnv): Part {
  return {
    id: registryId,
    launch: {
      argv: ['docker-registry', 'serve', registryConfigFile(place)],
      env: baseEnvironment(env),
      cgroup: groupOf(place, registryId),
      pidFile: pidFileOf(place, registryId),
      logFile: logFileOf(place, registryId),
    },
  };
}

function controllerPart(place: Place, record: ClusterRecord, env: NodeJS.ProcessEnv): Part {
  const { controller } = addressesIn(record.subnet);
  const argv = [process.execPath, record.program, 'controller'];
  argv.push('--data', folderOf(place, controllerId), '--listen', `${controller}:${controlPort}`);
  argv.push('--join-listen', `${controller}:${joinPort}`, '--liveness-listen', `${controller}:${livenessPort}`);
  argv.push('--insecure-registry', record.subnet);
  return {
    id: controllerId,
    launch: {
      argv,
      env: { ...baseEnvironment(env), ...noProxyFor(record, env) },
      namespace: namespaceOf(place, controllerId),
      cgroup: groupOf(place, controllerId),
      pidFile: pidFileOf(place, controllerId),
      logFile: logFileOf(place, controllerId),
    },
  };
}

function agentPart(place: Place, record: ClusterRecord, id: string, env: NodeJS.ProcessEnv): Part {
  const addresses = addressesIn(record.subnet);
  const argv = [process.execPath, record.program, 'agent'];
  argv.push('--join', `${addresses.controller}:${joinPort}`, '--name', id, '--address', addresses.node(id));
  argv.push('--data', folderOf(place, id), '--run', join(place.runFolder, id));
  argv.push('--cgroup-parent', groupOf(place, id), '--insecure-registry', record.subnet);
  return {
    id,
    launch: {
      argv,
      env: { ...baseEnvironment(env), ...noProxyFor(record, env), ...tokenEnvironment(place, id) },
      namespace: namespaceOf(place, id),
      cgroup: `${groupOf(place, id)}/agent`,
      pidFile: pidFileOf(place, id),
      logFile: logFileOf(place, id),
    },
  };
}

/** Not among the arguments, which everyone on the machine can read. An agent that has joined before ignores it. */
function tokenEnvironment(place: Place, id: string): NodeJS.ProcessEnv {
  try {
    return { FROTA_TOKEN: readFileSync(tokenFileOf(place, id), 'utf8').trim() };
  } catch {
    return {};
  }
}

/** The cluster's own registry is asked through no proxy: its addresses are of this machine alone. */
const noProxyFor = ({ subnet }: ClusterRecord, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
  NO_PROXY: [env['NO_PROXY'], subnet].filter((each) => each !== undefined && each !== '').join(','),
});

/** The same for whoever calls `up`: where programs and folders are, and nothing else of a person's shell. */
export function baseEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = ['TMPDIR', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'NODE_EXTRA_CA_CERTS', 'NODE_OPTIONS'];
  const own = Object.fromEntries(kept.filter((name) => env[name] !== undefined).map((name) => [name, env[name]]));
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LANG: 'C.UTF-8',
    FROTA_STATE_DIR: stateFolderOf(env),
    ...own,
  };
}

/** Configuration of Debian's docker-registry (distribution 2.8). */
export function registryConfig(place: Place, record: ClusterRecord): string {
  const { host } = addressesIn(record.subnet);
  return [
    'version: 0.1',
    'log: {accesslog: {disabled: true}, level: warn}',
    'storage:',
    `  filesystem: {rootdirectory: ${JSON.stringify(join(place.stateFolder, registryId, 'blobs'))}}`,
    '  delete: {enabled: true}',
    `http: {addr: "${host}:${registryPort}"}`,
    '',
  ].join('\n');
}
