/** The clock of leases: since boot, time asleep included, the same for every process of this machine (CLOCK_BOOTTIME). */
import { readFileSync } from 'node:fs';

/** Of `/proc/uptime` (proc_uptime(5)): a hundredth of a second, rounded down. */
export const bootClockStepMs = 10;

/** Milliseconds since boot. */
export function readBootMs(): number {
  return Math.round(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1_000);
}
