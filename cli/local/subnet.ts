/** A /24 of its own for each local cluster. */
import { readdir } from 'node:fs/promises';
import { FrotaError } from '../../proto/base/errors.ts';
import { placeOf, stateRoot, type Place } from './place.ts';
import { call } from './programs.ts';
import { readRecord } from './record.ts';

/** `10.89.0.0/24` is that of the cluster `local`, always, so that examples can name its registry. */
const prefix = '10.89';
const lastThirdPart = 255;

/** An IPv4 range as two inclusive bounds. */
interface Range {
  readonly first: number;
  readonly last: number;
}

/** @throws FrotaError `invalid` */
export function rangeOf(cidr: string): Range {
  const [address = '', bits = '32'] = cidr.split('/');
  const parts = address.split('.').map(Number);
  const length = Number(bits);
  if (parts.length !== 4 || parts.some((part) => !(part >= 0 && part <= 255)) || !(length >= 0 && length <= 32)) {
    throw new FrotaError('invalid', `"${cidr}" is no IPv4 range`);
  }
  const size = 2 ** (32 - length);
  const value = parts.reduce((sum, part) => sum * 256 + part, 0);
  const first = value - (value % size);
  return { first, last: first + size - 1 };
}

const overlap = (a: Range, b: Range): boolean => a.first <= b.last && b.first <= a.last;

/** The first free one, `local`'s kept for `local`. @throws FrotaError `exhausted`, or `conflict` for `local` */
export function pickSubnet(name: string, taken: readonly string[]): string {
  const ranges = taken.map(rangeOf);
  const isFree = (subnet: string): boolean => !ranges.some((range) => overlap(range, rangeOf(subnet)));
  if (name === 'local') {
    const subnet = `${prefix}.0.0/24`;
    if (isFree(subnet)) return subnet;
    throw new FrotaError(
      'conflict',
      `${subnet}, the subnet of cluster "local", is used by something else on this machine`,
    );
  }
  for (let third = 1; third <= lastThirdPart; third += 1) {
    const subnet = `${prefix}.${third}.0/24`;
    if (isFree(subnet)) return subnet;
  }
  throw new FrotaError('exhausted', `no free subnet in ${prefix}.0.0/16: remove clusters with "frota cluster down"`);
}

/** What this machine's addresses and routes use, and what other local clusters, running or not, have been given. */
export async function takenSubnets(place: Place, env: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const listed = await call('ip', ['-json', '-4', 'route', 'show', 'table', 'all']);
  const routes = JSON.parse(listed.stdout) as readonly { readonly dst: string; readonly dev?: string }[];
  const taken = routes
    // Our own bridge's are no obstacle; the default route covers everything and says nothing.
    .filter((route) => route.dev !== place.bridge && route.dst !== 'default')
    .map((route) => route.dst)
    .filter((destination) => /^[0-9.]+([/][0-9]+)?$/.test(destination));
  for (const name of await readdir(stateRoot(env)).catch(() => [])) {
    if (name === place.name) continue;
    try {
      const record = await readRecord(placeOf(name, env));
      if (record !== undefined) taken.push(record.subnet);
    } catch {
      // A damaged record of another cluster: if that one runs, its routes say what it uses.
    }
  }
  return taken;
}
