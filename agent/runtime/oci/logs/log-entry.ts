/** PURE: the container's output as conmon writes it (`k8s-file`: `2026-11-21T06:01:12.449189935+00:00 stdout F text`). */
import type { OutputStream } from '../../../../proto/domain/logs.ts';

/** What conmon read at once, up to a newline. */
export interface LogEntry {
  /** As in `LogLine`. */
  readonly time: string;
  readonly stream: OutputStream;
  /** False: the line goes on in the next entry of the same stream. conmon splits wherever a read of its ended. */
  readonly complete: boolean;
  readonly text: Buffer;
}

/** conmon reads 8 KiB at a time; what is longer than this before a newline is damage (a power cut), not an entry. */
const maxEntryBytes = 64 * 1024;
const newline = 0x0a;
/** `2026-11-21T06:01:12.449189935`, then the host's offset, then `stdout` or `stderr`, then F or P. */
const localBytes = 29;
const timeBytes = 35;
const streamBytes = 6;
const flagAt = timeBytes + 1 + streamBytes + 1;
const textAt = flagAt + 2;

/** `line` has no newline. Undefined for what does not have the format. */
export function parseEntry(line: Buffer): LogEntry | undefined {
  const flag = line[flagAt];
  if (flag !== 0x46 && flag !== 0x50) return undefined;
  const stream = line.toString('latin1', timeBytes + 1, flagAt - 1);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const time = utcOf(line.toString('latin1', 0, timeBytes));
  return time === undefined ? undefined : { time, stream, complete: flag === 0x46, text: line.subarray(textAt) };
}

/** The host's own offset is UTC nearly everywhere, and then nothing is to be computed. */
function utcOf(time: string): string | undefined {
  const local = time.slice(0, localBytes);
  if (time.endsWith('+00:00')) return `${local}Z`;
  const seconds = Date.parse(`${local.slice(0, 'YYYY-MM-DDTHH:MM:SS'.length)}${time.slice(localBytes)}`);
  if (Number.isNaN(seconds)) return undefined;
  return `${new Date(seconds).toISOString().slice(0, 'YYYY-MM-DDTHH:MM:SS'.length)}${local.slice(19)}Z`;
}

/** Cuts a stream of bytes into entries; what is no entry is left out. */
export class EntrySplitter {
  #rest: Buffer = Buffer.alloc(0);
  /** The bytes begin in the midst of an entry, which is left out. */
  #inside: boolean;

  constructor(inside: boolean) {
    this.#inside = inside;
  }

  /** The entries keep a hold on `chunk`. */
  push(chunk: Buffer): readonly LogEntry[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const entries: LogEntry[] = [];
    let start = 0;
    for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, start)) {
      const entry = this.#inside ? undefined : parseEntry(bytes.subarray(start, end));
      this.#inside = false;
      if (entry !== undefined) entries.push(entry);
      start = end + 1;
    }
    this.#rest = bytes.subarray(start);
    if (this.#rest.length > maxEntryBytes) {
      this.#rest = Buffer.alloc(0);
      this.#inside = true;
    }
    return entries;
  }
}
