/** A command to its end or its time, with the beginning of what it wrote. */
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { FrotaError } from '../../../../proto/base/errors.ts';
import type { CapturedExec, CaptureOptions, Exec } from '../../runtime.ts';

/** `start` must kill what it has started when its signal aborts. */
export async function captureExec(
  start: (signal: AbortSignal) => Promise<Exec>,
  { timeoutMs, maxOutputBytes }: CaptureOptions,
  signal: AbortSignal,
): Promise<CapturedExec> {
  const time = new AbortController();
  const timer = setTimeout(() => {
    time.abort();
  }, timeoutMs);
  const chunks: Buffer[] = [];
  let room = maxOutputBytes;
  const keep = (stream: Readable): Promise<void> =>
    drain(stream, (chunk) => {
      if (room > 0) chunks.push(chunk.subarray(0, room));
      room -= Math.min(room, chunk.length);
    });
  const output = (): string => Buffer.concat(chunks).toString('utf8');
  try {
    const exec = await start(AbortSignal.any([signal, time.signal]));
    exec.stdin.end();
    const read = Promise.all([keep(exec.stdout), keep(exec.stderr)]);
    const { exitCode } = await exec.done;
    await read;
    if (signal.aborted) throw new FrotaError('cancelled', 'the command was cancelled');
    return time.signal.aborted
      ? { kind: 'timed-out', output: output() }
      : { kind: 'exited', exitCode, output: output() };
  } catch (error) {
    if (!signal.aborted && time.signal.aborted) return { kind: 'timed-out', output: output() };
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** To its end, which a broken stream has too. */
async function drain(stream: Readable, onChunk: (chunk: Buffer) => void): Promise<void> {
  stream.on('data', onChunk);
  await finished(stream).catch(() => undefined);
}
