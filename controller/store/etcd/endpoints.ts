/** What `--store` says: `etcd://host:port[,host:port]`, or `etcds://` for TLS. */
import { isIPv6 } from 'node:net';
import { FrotaError } from '../../../proto/base/errors.ts';

export interface EtcdEndpoints {
  readonly secure: boolean;
  /** `host:port` each, at least one; members of one etcd cluster. */
  readonly addresses: readonly string[];
}

/** etcd clusters have up to seven members; a longer list is a mistake. */
const maxEndpoints = 9;
const maxPort = 65_535;
const example = 'etcd://10.0.0.5:2379,10.0.0.6:2379';

/** @throws FrotaError `invalid`, naming what is wrong and showing what is right. */
export function parseEndpoints(text: string): EtcdEndpoints {
  const match = /^(etcds?):\/\/([^/?#]*)\/?$/.exec(text);
  if (match === null) {
    throw new FrotaError('invalid', `"${text}" is no store: give etcd:// or etcds:// and addresses, as in ${example}`);
  }
  const addresses = (match[2] ?? '').split(',');
  if (addresses.some((address) => address.includes('@'))) {
    throw new FrotaError(
      'invalid',
      'a user and password for etcd are not supported, and would be readable in the list of processes: use etcds:// with --store-cert and --store-key',
    );
  }
  for (const address of addresses) checkAddress(address, text);
  if (new Set(addresses).size !== addresses.length) {
    throw new FrotaError('invalid', `"${text}" names an address twice: give each member of the etcd cluster once`);
  }
  if (addresses.length > maxEndpoints) {
    throw new FrotaError(
      'invalid',
      `"${text}" names ${String(addresses.length)} addresses: give at most ${String(maxEndpoints)} members of one etcd cluster`,
    );
  }
  return { secure: match[1] === 'etcds', addresses };
}

function checkAddress(address: string, text: string): void {
  const match = /^(?:\[([^\]]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  const fine = match !== null && port >= 1 && port <= maxPort && (match[1] === undefined || isIPv6(match[1]));
  if (fine) return;
  throw new FrotaError(
    'invalid',
    `"${address}" in "${text}" is no address of an etcd member: give host:port, as in ${example}`,
  );
}
