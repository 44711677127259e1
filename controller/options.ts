/** The command line of `frota controller`. */
import { Command, InvalidArgumentError } from 'commander';
import { isIP } from 'node:net';
import { FrotaError } from '../proto/base/errors.ts';
import { addLivenessOptions, livenessProblem } from './liveness-options.ts';
import type { LivenessOptions } from './liveness-options.ts';
import { overlaps, parseCidr, nodeSubnetPrefix } from './network/subnets.ts';
import { parseEndpoints } from './store/etcd/endpoints.ts';
import type { EtcdEndpoints } from './store/etcd/endpoints.ts';

export interface ControllerOptions extends LivenessOptions {
  readonly data: string;
  /** `host:port` each. */
  readonly listen: string;
  readonly joinListen: string;
  readonly livenessListen: string;
  /** An address under which nodes and people reach this controller; absent: that of `listen`. */
  readonly advertise?: string;
  readonly containerPool: string;
  readonly vipPool: string;
  readonly insecureRegistry: readonly string[];
  /** For each service: nodes that have its image though they run none of its tasks. */
  readonly spareImages: number;
  /** Absent: the systemd credential `frota-key`, else `secrets.key` in the data folder. */
  readonly keyFile?: string;
  /** Absent: the embedded store, in `data`. */
  readonly store?: EtcdEndpoints;
  /** Paths of PEM files; `storeCa` exactly with secure endpoints, the other two together. */
  readonly storeCa?: string;
  readonly storeCert?: string;
  readonly storeKey?: string;
  readonly logLevel: string;
}

const endpoint = (text: string): string => {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  if (isIP(host) === 0 || Number(match?.[3]) > 65_535)
    throw new InvalidArgumentError('give IP:PORT, for example 0.0.0.0:7400.');
  return text;
};

const pool = (text: string): string => {
  try {
    if (parseCidr(text).prefix > nodeSubnetPrefix)
      throw new Error(`a pool needs at least a /${String(nodeSubnetPrefix)}`);
    return text;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
};

const endpoints = (text: string): EtcdEndpoints => {
  try {
    return parseEndpoints(text);
  } catch (error) {
    throw new InvalidArgumentError(`${FrotaError.from(error).message}.`);
  }
};

/** More nodes than this that have an image in vain are a setting of its own: run the service there. */
const maxSpares = 10;

const spares = (text: string): number => {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count > maxSpares) {
    throw new InvalidArgumentError(`give a whole number from 0 to ${String(maxSpares)}.`);
  }
  return count;
};

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function controllerCommand(version: string, act: (options: ControllerOptions) => Promise<void>): Command {
  const command = new Command('frota controller')
    .description('Runs the controller: keeps what is declared, decides what runs where, tells the agents.')
    .version(version)
    .option('--data <folder>', 'store, certificates and the administrator’s context', '/var/lib/frota/controller')
    .option('--listen <ip:port>', 'control port: people and agents, with certificates', endpoint, '0.0.0.0:7400')
    .option('--join-listen <ip:port>', 'join port: new machines, with a token', endpoint, '0.0.0.0:7401')
    .option('--liveness-listen <ip:port>', 'UDP port for heartbeats', endpoint, '0.0.0.0:7402')
    .option(
      '--advertise <ip>',
      'address under which nodes and people reach this controller (default: of --listen, or the first of this machine)',
    )
    .option('--container-pool <cidr>', 'addresses of containers; only before the first start', pool, '10.64.0.0/12')
    .option('--vip-pool <cidr>', 'virtual addresses of services; only before the first start', pool, '10.80.0.0/16')
    .option(
      '--insecure-registry <host|cidr>',
      'registry that may be asked over plain HTTP; may be repeated',
      collect,
      [],
    )
    .option(
      '--spare-images <count>',
      'nodes that keep each service’s image ahead of need, besides those that run it; 0: none',
      spares,
      1,
    )
    .option(
      '--key-file <file>',
      'key that secrets are sealed with in the store (default: the systemd credential frota-key, else DATA/secrets.key, made at the first start)',
    )
    .option(
      '--store <url>',
      'etcd://HOST:PORT[,HOST:PORT], etcds:// for TLS; default: a file in the data folder',
      endpoints,
    )
    .option('--store-ca <file>', 'certificates (PEM) of the authority that signed those of etcd; with etcds://')
    .option('--store-cert <file>', 'certificate (PEM) with which this controller shows itself to etcd')
    .option('--store-key <file>', 'the key (PEM) of --store-cert')
    .option('--log-level <level>', 'debug, info, warn or error', 'info')
    .addHelpText(
      'after',
      `
Examples:
  frota controller                                  listen on every address of this machine
  frota controller --advertise 10.0.0.5             name the address that nodes are to use
  frota controller --store etcd://10.0.0.7:2379     keep the records in etcd (see docs/operations.md)
  frota cluster token --context admin               what a new machine joins with`,
    );
  addLivenessOptions(command);
  return command.action((given: ControllerOptions) => {
    if (overlaps(parseCidr(given.containerPool), parseCidr(given.vipPool))) {
      command.error(
        `error: --container-pool ${given.containerPool} and --vip-pool ${given.vipPool} overlap; give two separate networks`,
      );
    }
    const problem = storeProblem(given) ?? livenessProblem(given);
    if (problem !== undefined) command.error(`error: ${problem}`);
    return act(given);
  });
}

function storeProblem({ store, storeCa, storeCert, storeKey }: ControllerOptions): string | undefined {
  if ((storeCert === undefined) !== (storeKey === undefined)) return '--store-cert and --store-key go together';
  if (store?.secure === true) {
    return storeCa === undefined
      ? 'etcds:// needs --store-ca, the authority that signed the certificate of etcd'
      : undefined;
  }
  const given = [storeCa, storeCert].some((path) => path !== undefined);
  return given ? '--store-ca, --store-cert and --store-key need --store etcds://…' : undefined;
}
