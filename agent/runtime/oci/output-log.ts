/** The container's output as conmon writes it (`k8s-file`: `2026-11-21T06:01:12.449189935+00:00 stdout F text`). */
import { open } from 'node:fs/promises';

export interface OutputLine {
  /** RFC 3339 with nanoseconds and the offset of the host. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** False: the line goes on in the next entry of the same stream (conmon splits long ones). */
  readonly complete: boolean;
  readonly text: string;
}

/** PURE: one line of the file; undefined if it does not have the format. */
export function parseOutputLine(line: string): OutputLine | undefined {
  const match = /^(\S+) (stdout|stderr) ([FP]) ?(.*)$/s.exec(line);
  if (match === null) return undefined;
  const [, time = '', stream, flag, text = ''] = match;
  return { time, stream: stream === 'stderr' ? 'stderr' : 'stdout', complete: flag === 'F', text };
}

/** PURE: the text the container wrote, both streams in the order of the file. */
export function outputText(log: string): string {
  let text = '';
  for (const line of log.split('\n')) {
    const entry = parseOutputLine(line);
    if (entry !== undefined) text += entry.complete ? `${entry.text}\n` : entry.text;
  }
  return text;
}

/** At most the last `maxBytes` of what the container wrote; empty if there is no log. */
export async function readOutputTail(path: string, maxBytes: number): Promise<string> {
  const file = await open(path, 'r').catch(() => undefined);
  if (file === undefined) return '';
  try {
    const { size } = await file.stat();
    // Each entry has some 45 bytes before its text, and the first one read is usually cut.
    const wanted = Math.min(size, maxBytes * tailFactor + entryOverheadBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(wanted), 0, wanted, size - wanted);
    const text = Buffer.from(outputText(buffer.toString('utf8', 0, bytesRead)), 'utf8');
    return text.subarray(Math.max(0, text.length - maxBytes)).toString('utf8');
  } finally {
    await file.close();
  }
}

/** Lines of a few bytes are mostly prefix. */
const tailFactor = 10;
const entryOverheadBytes = 8 * 1024;
