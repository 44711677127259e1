/** PURE: each service's virtual address, out of the VIP pool. */
import { formatAddress, parseCidr } from './subnets.ts';

export interface VipPool {
  /** An address nobody has, or undefined when the pool is full. */
  take(serviceId: string): string | undefined;
}

/**
 * The search starts where the service's name hashes to: an address that has just become free, which clients may still
 * remember, is thus rarely another service's next. The pool's first and last address are not given out.
 */
export function openVipPool(pool: string, taken: readonly string[], hash: (text: string) => string): VipPool {
  const { first, prefix } = parseCidr(pool);
  const size = Math.max(0, 2 ** (32 - prefix) - 2);
  const used = new Set(taken);
  return {
    take: (serviceId) => {
      const start = hashNumber(hash(serviceId));
      for (let step = 0; step < size; step += 1) {
        const vip = formatAddress(first + 1 + ((start + step) % size));
        if (used.has(vip)) continue;
        used.add(vip);
        return vip;
      }
      return undefined;
    },
  };
}

/** The first 32 bits of a hash in hex. */
export function hashNumber(hex: string): number {
  const number = Number.parseInt(hex.slice(0, 8), 16);
  return Number.isNaN(number) ? 0 : number;
}
