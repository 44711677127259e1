/** The end of what a container wrote, as text, for people who want to know why it failed. */
import { EntrySplitter } from './log-entry.ts';
import { listLogFiles, readEnd } from './log-files.ts';

/** Each entry has some 45 bytes before its text, so lines of a few bytes are mostly that. */
const tailFactor = 10;
const entryOverheadBytes = 8 * 1024;
const newline = Buffer.from('\n');

/** At most the last `maxBytes`; empty if there is no log. */
export async function readLastOutput(folders: readonly string[], maxBytes: number): Promise<string> {
  const files = await listLogFiles(folders);
  let wanted = maxBytes * tailFactor + entryOverheadBytes;
  const ends: Buffer[] = [];
  let whole = true;
  for (const { path } of files.toReversed()) {
    if (wanted <= 0) break;
    const read = await readEnd(path, wanted);
    ends.unshift(read.end);
    wanted -= read.end.length;
    whole = read.whole;
  }
  // The first entry that was read is usually cut.
  const entries = new EntrySplitter(!whole).push(Buffer.concat(ends));
  const text = Buffer.concat(entries.flatMap((entry) => (entry.complete ? [entry.text, newline] : [entry.text])));
  return text.subarray(Math.max(0, text.length - maxBytes)).toString('utf8');
}
