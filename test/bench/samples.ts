/** What every benchmark does with its samples. */

/** One line: median, minimum, maximum, in milliseconds. */
export function report(what: string, samples: readonly number[], digits = 0): void {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (part: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? NaN).toFixed(digits);
  process.stdout.write(
    `${what}: median ${at(0.5)} ms, minimum ${at(0)}, maximum ${at(1)} (${String(samples.length)} rounds)\n`,
  );
}
