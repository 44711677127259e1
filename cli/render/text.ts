/** Bits of text for people. Nothing that comes from elsewhere reaches a terminal with its control characters. */

/** Control and direction-changing characters become blanks: a container's message must not steer the terminal. */
export function printable(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+/gu, ' ');
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** `3s`, `4m`, `2h`, `5d`: how long ago, in the largest unit that fits. A clock that runs ahead gives `0s`. */
export function ageText(sinceIso: string | null, nowMs: number): string {
  if (sinceIso === null) return '-';
  const ageMs = Math.max(0, nowMs - Date.parse(sinceIso));
  if (Number.isNaN(ageMs)) return '-';
  if (ageMs < 2 * minute) return `${String(Math.floor(ageMs / second))}s`;
  if (ageMs < 2 * hour) return `${String(Math.floor(ageMs / minute))}m`;
  if (ageMs < 2 * day) return `${String(Math.floor(ageMs / hour))}h`;
  return `${String(Math.floor(ageMs / day))}d`;
}

const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `512 MiB`, `1.5 GiB`. */
export function bytesText(bytes: number): string {
  let amount = bytes;
  let unit = 0;
  while (amount >= 1024 && unit < byteUnits.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  const digits = amount >= 100 || Number.isInteger(amount) ? 0 : 1;
  return `${amount.toFixed(digits)} ${byteUnits[unit] ?? 'B'}`;
}

/** `0.5`, `2`: cores. */
export const coresText = (cpuMillis: number): string => String(cpuMillis / 1000);

export const countText = (count: number, one: string, many = `${one}s`): string =>
  `${String(count)} ${count === 1 ? one : many}`;
