/** Durations on the command lines of controller and agent: one number and one unit. Compose files have more forms (`cli/manifest`). */

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** `100ms`, `5s`, `2m`, `1h` → milliseconds; undefined for what is no such duration. */
export function parseOptionDurationMs(text: string): number | undefined {
  const [, value, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? [];
  const unitMs = unitsMs[unit ?? ''];
  return value === undefined || unitMs === undefined ? undefined : Number(value) * unitMs;
}
