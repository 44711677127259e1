import { InvalidArgumentError, Option } from 'commander';
import { parseDurationMs } from '../manifest/quantities.ts';

/** `--timeout` and `--ttl` become timers; Node's take no more than 2^31-1 ms. */
const maxDurationMs = 2 ** 31 - 1;

/** For commander: `60s`, `1m30s` → milliseconds. */
export function durationFlag(text: string): number {
  const ms = parseDurationMs(text);
  if (ms === undefined) throw new InvalidArgumentError('Write a duration such as 60s or 1m30s.');
  if (ms < 1 || ms > maxDurationMs) throw new InvalidArgumentError('Write a duration between 1ms and 24d.');
  return ms;
}

/** A moment before now as ms before it: `10m`, or a time in ISO 8601. */
export const momentFlag =
  (host: { nowMs(): number }) =>
  (text: string): number => {
    const duration = parseDurationMs(text);
    if (duration !== undefined) return duration;
    const atMs = /^\d{4}-\d{2}-\d{2}/u.test(text) ? Date.parse(text) : NaN;
    if (!Number.isNaN(atMs)) return Math.max(0, host.nowMs() - atMs);
    throw new InvalidArgumentError('Write a duration such as 10m, or a time such as 2026-11-24T10:00:00Z.');
  };

/** A whole number of at least `min` and at most `max`. */
export const wholeFlag =
  (min: number, max: number) =>
  (text: string): number => {
    const value = /^\d+$/u.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Write a whole number from ${String(min)} to ${String(max)}.`);
  };

export const waitOption = (what: string): Option => new Option('--wait', what);

export const timeoutOption = (): Option =>
  new Option('--timeout <duration>', 'with --wait: give up waiting after this long')
    .argParser(durationFlag)
    .default(60_000, '60s');
