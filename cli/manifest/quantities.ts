/** Durations, sizes and CPU shares as Compose writes them. Each answers undefined for what is no such quantity. */

const unitMs = new Map([
  ['ns', 1e-6],
  ['us', 1e-3],
  ['µs', 1e-3],
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
  ['w', 604_800_000],
]);

/** `1m30s`, `500ms`, `0` → whole milliseconds, rounded up so that a short wait does not become none. */
export function parseDurationMs(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d|w))+$/u.test(text)) return undefined;
  let total = 0;
  for (const [, amount = '', unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w)/gu)) {
    total += Number(amount) * (unitMs.get(unit) ?? 0);
  }
  return Number.isSafeInteger(Math.ceil(total)) ? Math.ceil(total) : undefined;
}

const unitExponents = 'kmgtp';

/** `64M`, `64MiB`, `1g`, `512k`, `1048576`, `1.5g` → bytes. Every unit is a power of 1024 (docker/go-units RAMInBytes). */
export function parseBytes(text: string): number | undefined {
  const matched = /^(\d+(?:\.\d+)?) ?(?:([kmgtp])i?)?b?$/iu.exec(text);
  if (matched === null) return undefined;
  const exponent = matched[2] === undefined ? 0 : unitExponents.indexOf(matched[2].toLowerCase()) + 1;
  const bytes = Math.floor(Number(matched[1]) * 1024 ** exponent);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `0.5` cores → 500 thousandths. */
export function parseCpuMillis(text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d*)?|\.\d+)$/u.test(text)) return undefined;
  const millis = Math.round(Number(text) * 1000);
  return Number.isSafeInteger(millis) ? millis : undefined;
}

/** Permission bits, octal as written: `0440`, `440`, `0o440`. */
export function parseFileMode(text: string): number | undefined {
  const digits = /^(?:0o)?([0-7]{1,5})$/u.exec(text)?.[1];
  const mode = digits === undefined ? undefined : parseInt(digits, 8);
  return mode !== undefined && mode <= 0o7777 ? mode : undefined;
}

/** Digits only: `8080`; no sign, no fraction, no other base. */
export function parseWhole(text: string): number | undefined {
  if (!/^\d+$/u.test(text)) return undefined;
  const whole = Number(text);
  return Number.isSafeInteger(whole) ? whole : undefined;
}
