/**
 * PURE: every name that containers of this node may ask for, made of the units that VIPs and rules are made of. A name
 * is known on networks, and who asks is answered as far as it shares one with what the name stands for.
 */
import { BlockList } from 'node:net';
import type { Endpoint, NetworkUnit, ServiceUnit } from '../../proto/domain/assignment.ts';
import type { TaskPlace } from '../network/network.ts';

/** One service under one name. */
interface Naming {
  readonly service: ServiceUnit;
  /** Where the name counts: all networks of the service, or the one an alias belongs to. */
  readonly networks: readonly string[];
  /** The service's own name and no alias. */
  readonly own: boolean;
}

export interface NameTable {
  /** In lower case, without the last dot. */
  readonly namings: ReadonlyMap<string, readonly Naming[]>;
  /** `stack-service`, to which a slot's number belongs. */
  readonly dashed: ReadonlyMap<string, readonly Naming[]>;
  /** By task id. */
  readonly tasks: ReadonlyMap<string, { readonly naming: Naming; readonly address: string }>;
  /** What an address is called, and where. */
  readonly addresses: ReadonlyMap<string, { readonly name: string; readonly networks: readonly string[] }>;
  /** Each stack, and the networks its services are on. */
  readonly stacks: ReadonlyMap<string, ReadonlySet<string>>;
  /** Containers and VIPs of the cluster: nobody else knows names for them. */
  readonly pools: BlockList;
  /** Networks without a way out. */
  readonly internal: readonly string[];
}

export type Found =
  /** A name of the cluster; without addresses while nothing stands behind it. */
  | { readonly kind: 'found'; readonly addresses: readonly string[] }
  | { readonly kind: 'named'; readonly name: string }
  /** It is the cluster's to know, and for this container it does not exist. */
  | { readonly kind: 'unknown' }
  /** A name of the world. */
  | { readonly kind: 'foreign' };

const unknown: Found = { kind: 'unknown' };
const foreign: Found = { kind: 'foreign' };

export function nameTable(network: NetworkUnit, services: readonly ServiceUnit[]): NameTable {
  const namings = new Map<string, Naming[]>();
  const dashed = new Map<string, Naming[]>();
  const tasks = new Map<string, { naming: Naming; address: string }>();
  const addresses = new Map<string, { name: string; networks: readonly string[] }>();
  const stacks = new Map<string, Set<string>>();
  for (const service of services) {
    const { stack, name, members, vip } = service;
    const networks = service.networks.map((attachment) => attachment.network);
    const naming: Naming = { service, networks, own: true };
    for (const each of [name, `${stack}_${name}`, `${name}.${stack}`]) append(namings, each, naming);
    append(dashed, `${stack}-${name}`, naming);
    for (const { network: only, aliases } of service.networks) {
      for (const alias of aliases) append(namings, alias, { service, networks: [only], own: false });
    }
    addresses.set(vip, { name: `${stack}_${name}`, networks });
    for (const { taskId, address, slot } of members) {
      tasks.set(taskId.toLowerCase(), { naming, address });
      addresses.set(address, { name: `${stack}-${name}-${slot}`, networks });
    }
    stacks.set(stack.toLowerCase(), new Set([...(stacks.get(stack.toLowerCase()) ?? []), ...networks]));
  }
  const pools = poolsOf(network);
  return { namings, dashed, tasks, addresses, stacks, pools, internal: network.internal };
}

/** `name` in lower case, without the last dot. */
export function lookUpName(table: NameTable, name: string, asker: TaskPlace): Found {
  let isKnown = false;
  for (const { namings, addressesOf } of readings(table, name)) {
    isKnown = true;
    const seen = visible(namings, asker);
    if (seen.length === 0) continue;
    const found = seen.map(({ service }) => addressesOf(service)).filter((addresses) => addresses !== undefined);
    if (found.length > 0) return { kind: 'found', addresses: [...new Set(found.flat())] };
  }
  return isKnown || isOurs(table, name, asker) ? unknown : foreign;
}

export function lookUpAddress(table: NameTable, address: string, asker: TaskPlace): Found {
  if (!table.pools.check(address)) return foreign;
  const known = table.addresses.get(address);
  return known !== undefined && shares(known.networks, asker) ? { kind: 'named', name: known.name } : unknown;
}

interface Reading {
  readonly namings: readonly Naming[];
  /** Undefined: there is no such slot. */
  readonly addressesOf: (service: ServiceUnit) => readonly string[] | undefined;
}

/** What a name can mean, the plainest first: dots and numbers may be part of a service's name, too. */
function* readings(table: NameTable, name: string): Iterable<Reading> {
  const under = (key: string | undefined, map = table.namings): readonly Naming[] => map.get(key ?? '') ?? [];
  const plain = under(name);
  if (plain.length > 0) yield { namings: plain, addressesOf: (service) => [service.vip] };
  const task = table.tasks.get(name);
  if (task !== undefined) yield { namings: [task.naming], addressesOf: () => [task.address] };
  if (name.startsWith('tasks.')) {
    const namings = under(name.slice('tasks.'.length));
    if (namings.length > 0) yield { namings, addressesOf: (service) => addressList(service.endpoints) };
  }
  const [, before, after] = /^(.+)[.-](\d{1,9})$/.exec(name) ?? [];
  const [, first, rest] = /^(\d{1,9})\.(.+)$/.exec(name) ?? [];
  const isDotted = before !== undefined && name[before.length] === '.';
  for (const [namings, slot] of [
    [isDotted ? under(before) : under(before, table.dashed), after],
    [under(rest), first],
  ] as const) {
    if (namings.length > 0) yield { namings, addressesOf: (service) => slotAddresses(service, Number(slot)) };
  }
}

/** A task that is not an endpoint yet, or no longer, is found when the slot has no endpoint. */
function slotAddresses(service: ServiceUnit, slot: number): readonly string[] | undefined {
  const of = (list: readonly Endpoint[]): readonly string[] => addressList(list.filter((each) => each.slot === slot));
  const serving = of(service.endpoints);
  const all = serving.length > 0 ? serving : of(service.members);
  return all.length > 0 ? all : undefined;
}

/** Of several services under one name that of the asker's own stack is meant, as in its hosts file; else all of them. */
function visible(namings: readonly Naming[], asker: TaskPlace): readonly Naming[] {
  const seen = namings.filter((naming) => shares(naming.networks, asker));
  const own = seen.filter((naming) => naming.own && naming.service.stack === asker.stack);
  return own.length > 0 ? own : seen;
}

/**
 * Names that no resolver outside may be asked for, lest it answer in a service's stead while that is away: those of one
 * label, those that end with a number, and those under a stack that the asker can see.
 */
function isOurs(table: NameTable, name: string, asker: TaskPlace): boolean {
  const last = name.slice(name.lastIndexOf('.') + 1);
  if (last === name) return name !== '';
  if (/^\d+$/.test(last)) return true;
  const networks = table.stacks.get(last);
  return last === asker.stack.toLowerCase() || (networks !== undefined && shares([...networks], asker));
}

const shares = (networks: readonly string[], asker: TaskPlace): boolean =>
  networks.some((network) => asker.networks.includes(network));

const addressList = (endpoints: readonly Endpoint[]): readonly string[] => endpoints.map(({ address }) => address);

function append(map: Map<string, Naming[]>, name: string, naming: Naming): void {
  const key = name.toLowerCase();
  const list = map.get(key);
  if (list === undefined) map.set(key, [naming]);
  else list.push(naming);
}

function poolsOf({ containerPool, vipPool }: NetworkUnit): BlockList {
  const pools = new BlockList();
  for (const pool of [containerPool, vipPool]) {
    const [base = '', prefix = ''] = pool.split('/');
    pools.addSubnet(base, Number(prefix), 'ipv4');
  }
  return pools;
}
