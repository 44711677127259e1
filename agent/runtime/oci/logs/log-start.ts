/** Where in a container's log the reading for a query begins, so that not all of it has to be read. */
import { maxLogLineBytes, type LogQuery } from '../../../../proto/domain/logs.ts';
import { EntrySplitter, parseEntry, type LogEntry } from './log-entry.ts';
import { listLogFiles, openLogFile, readEnd, type LogFile } from './log-files.ts';

export interface LogStart {
  readonly number: number;
  readonly offset: number;
}

const blockBytes = 64 * 1024;
/** What may have to be read before an entry to have its line whole: its earlier parts, each with some 45 bytes before it. */
const lineMarginBytes = maxLogLineBytes + blockBytes;
const newline = 0x0a;

/** Undefined: the oldest there is. */
export async function findStart(folders: readonly string[], query: LogQuery): Promise<LogStart | undefined> {
  const files = await listLogFiles(folders);
  const from = query.after?.time ?? query.since;
  if (query.after === undefined && query.tail !== undefined) return tailStart(files, query.tail, query.until);
  return from === undefined ? undefined : timeStart(files, from);
}

/** The newest file that can't be left out; a file is left out when it ended before that time, with no line begun. */
async function timeStart(files: readonly LogFile[], from: string): Promise<LogStart | undefined> {
  let start: LogStart | undefined;
  for (const [index, file] of files.entries()) {
    const next = files[index + 1];
    if (next === undefined) return start;
    const splitter = new EntrySplitter(true);
    const { end, whole } = await readEnd(file.path, blockBytes);
    const entries = splitter.push(whole ? Buffer.concat([Buffer.from('\n'), end]) : end);
    if (!endedBefore(entries, from)) return start;
    start = { number: next.number, offset: 0 };
  }
  return start;
}

function endedBefore(entries: readonly LogEntry[], from: string): boolean {
  if (entries.length === 0 || entries.some(({ time }) => time >= from)) return false;
  const lastOf = (stream: LogEntry['stream']): LogEntry | undefined =>
    entries.findLast((each) => each.stream === stream);
  return [lastOf('stdout'), lastOf('stderr')].every((entry) => entry?.complete !== false);
}

/** Far enough before the last `count` lines (up to `until`): lines that are only parts of themselves come before those. */
async function tailStart(
  files: readonly LogFile[],
  count: number,
  until: string | undefined,
): Promise<LogStart | undefined> {
  let left = count;
  let margin = lineMarginBytes;
  for (const file of files.toReversed()) {
    const handle = await openLogFile(file.path);
    if (handle === undefined) continue;
    try {
      let position = (await handle.stat()).size;
      // The beginning of the entry that a block ended with lies in the block before it.
      let rest: Buffer = Buffer.alloc(0);
      while (position > 0) {
        if (left <= 0) {
          if (position >= margin) return { number: file.number, offset: position - margin };
          margin -= position;
          break;
        }
        const size = Math.min(blockBytes, position);
        position -= size;
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(size), 0, size, position);
        const block = Buffer.concat([buffer.subarray(0, bytesRead), rest]);
        const cut = position === 0 ? 0 : afterNewline(block);
        left -= completeEntries(block.subarray(cut), until);
        rest = block.subarray(0, cut);
      }
    } finally {
      await handle.close();
    }
  }
  return undefined;
}

/** Where the first whole entry begins; the end if there is none. */
function afterNewline(block: Buffer): number {
  const at = block.indexOf(newline);
  return at < 0 ? block.length : at + 1;
}

function completeEntries(block: Buffer, until: string | undefined): number {
  let count = 0;
  let start = 0;
  for (let end = block.indexOf(newline); end >= 0; end = block.indexOf(newline, start)) {
    const entry = parseEntry(block.subarray(start, end));
    if (entry?.complete === true && (until === undefined || entry.time <= until)) count += 1;
    start = end + 1;
  }
  return count;
}
