/** What every benchmark does with its samples. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** The sample below which `part` of them lie; NaN of none. */
export function quantile(samples: readonly number[], part: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? NaN;
}

/** One line: median, minimum, maximum and, from twenty samples on, the 99th percentile. */
export function report(what: string, samples: readonly number[], digits = 0, unit = ' ms'): void {
  const at = (part: number): string => quantile(samples, part).toFixed(digits);
  const p99 = samples.length < 20 ? '' : `, p99 ${at(0.99)}`;
  process.stdout.write(
    `${what}: median ${at(0.5)}${unit}, minimum ${at(0)}, maximum ${at(1)}${p99} (${String(samples.length)} samples)\n`,
  );
}

/** Each of `rounds` runs, in wall and CPU time of this process, ms, and what the last one gave. */
export function timed<T>(rounds: number, run: () => T) {
  const wallMs: number[] = [];
  const cpuMs: number[] = [];
  for (;;) {
    const cpuBefore = process.cpuUsage();
    const startedAt = performance.now();
    const last = run();
    wallMs.push(performance.now() - startedAt);
    const { user, system } = process.cpuUsage(cpuBefore);
    cpuMs.push((user + system) / 1_000);
    if (wallMs.length >= rounds) return { wallMs, cpuMs, last };
  }
}

/** What is in use after a full collection. */
export function heapMiB(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed / 1024 ** 2;
}
