/** Where a local cluster lives on this machine: every name, folder and address of it follows from its name and subnet. */
import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';

/** Longest interface name of Linux (IFNAMSIZ - 1). */
const maxLinkName = 15;
/** Folder names and cgroup paths are made of it; longer ones are hard to read in listings. */
const maxNameLength = 31;
/** Host parts .11 to .110 of a /24: more nodes than one machine can carry. */
export const maxNodes = 100;
export const defaultNodes = 3;
const firstNodeHost = 10;
export const registryPort = 5000;
export const controlPort = 7400;
export const joinPort = 7401;
export const livenessPort = 7402;
const controllerId = 'c1';

export interface Place {
  readonly name: string;
  readonly stateFolder: string;
  readonly runFolder: string;
  /** Below every cgroup hierarchy's root. */
  readonly cgroup: string;
  readonly bridge: string;
  /** nftables table, family `ip`. */
  readonly table: string;
}

/** Run folders and cgroups that an agent or controller of a real machine has by default. */
const reservedNames = ['agent', 'controller', 'node'];

/** @throws FrotaError `invalid` */
export function checkName(name: string): void {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(name) || name.length > maxNameLength) {
    const rule = `lower-case letters, digits and hyphens, a letter or digit first, at most ${maxNameLength} characters`;
    throw new FrotaError('invalid', `"${name}" is no name for a cluster: use ${rule}`);
  }
  if (reservedNames.includes(name)) {
    throw new FrotaError(
      'invalid',
      `"${name}" is no name for a cluster: a node of its own on this machine would use the same folders`,
    );
  }
  // The namespaces of cluster `a-n1` and those of node n1 of cluster `a` would be told apart by nothing.
  if (/-[cn][0-9]+(-|$)/.test(name)) {
    throw new FrotaError('invalid', `"${name}" is no name for a cluster: a part like "n1" or "c1" names a node`);
  }
}

/** Absolute, because the programs of a cluster do not run in the folder in which a person called `up`. */
export function stateFolderOf(env: NodeJS.ProcessEnv): string {
  const given = env.FROTA_STATE_DIR ?? '';
  return given === '' ? '/var/lib/frota' : resolve(given);
}

export const stateRoot = (env: NodeJS.ProcessEnv): string => join(stateFolderOf(env), 'clusters');

export const runRoot = '/run/frota';
export const namespaceFolder = '/run/netns';

export function placeOf(name: string, env: NodeJS.ProcessEnv): Place {
  checkName(name);
  return {
    name,
    stateFolder: join(stateRoot(env), name),
    runFolder: join(runRoot, name),
    cgroup: `/frota/${name}`,
    bridge: shorten('frota-', name, ''),
    table: `frota_${name.replaceAll('-', '_')}`,
  };
}

export const nodeIds = (count: number): readonly string[] => Array.from({ length: count }, (_, at) => `n${at + 1}`);

export const namespaceOf = (place: Place, id: string): string => `frota-${place.name}-${id}`;

/** The host's end of the veth pair whose other end is `eth0` in the namespace. */
export const hostLinkOf = (place: Place, id: string): string => shorten('ve-', place.name, `-${id}`);

/** The name itself where it fits, else six characters of its digest. */
function shorten(prefix: string, name: string, suffix: string): string {
  const full = `${prefix}${name}${suffix}`;
  if (full.length <= maxLinkName) return full;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 6);
  return `${prefix.slice(0, 3)}${digest}${suffix}`;
}

/** A locally administered address that stays the bridge's own when ports come and go, so that no neighbour entry goes stale. */
export function bridgeMac(place: Place): string {
  const digest = createHash('sha256').update(`bridge ${place.name}`).digest('hex');
  return `02:${digest.slice(0, 10).replace(/(..)(?=.)/g, '$1:')}`;
}

/** Addresses in the cluster's /24: host .1, controller .10, nodes from .11 on. */
export interface Addresses {
  readonly host: string;
  readonly controller: string;
  readonly registry: string;
  node(id: string): string;
  of(id: string): string;
}

export function addressesIn(subnet: string): Addresses {
  const base = subnet.slice(0, subnet.lastIndexOf('.'));
  const node = (id: string): string => `${base}.${firstNodeHost + Number(id.slice(1))}`;
  return {
    host: `${base}.1`,
    controller: `${base}.${firstNodeHost}`,
    registry: `${base}.1:${registryPort}`,
    node,
    of: (id) => (id === controllerId ? `${base}.${firstNodeHost}` : node(id)),
  };
}

export { controllerId };
