/** Where others reach this controller. Part of the composition root. */
import { networkInterfaces } from 'node:os';
import { FrotaError } from '../proto/base/errors.ts';
import { parseAddress } from '../proto/rpc/client.ts';

/** Listening everywhere says nothing about how others reach this machine: its first address that is not its own loopback. */
export function advertisedHost(listen: string): string {
  const { host } = parseAddress(listen);
  if (host !== '0.0.0.0' && host !== '::') return host;
  const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const reachable = own.find((address) => !address.internal && address.family === 'IPv4');
  if (reachable !== undefined) return reachable.address;
  throw new FrotaError('unavailable', 'this machine has no address that others could reach; give one with --advertise');
}
