/** One blob as a stream of bytes that survives broken connections: it goes on where it broke off. */
import { FrotaError } from '../base/errors.ts';
import type { Descriptor } from './manifest.ts';
import { Attempts } from './retry.ts';
import type { Outcome, RetryPolicy } from './retry.ts';
import { headerOf } from './transport.ts';
import type { HttpResponse } from './transport.ts';

export interface BlobDownload {
  readonly blob: Descriptor;
  /** For messages: `blob sha256:… of registry/repository`. */
  readonly where: string;
  readonly offset: number;
  readonly signal: AbortSignal;
  readonly policy: RetryPolicy;
  /** Asks for the bytes from `offset` on. */
  readonly open: (offset: number) => Promise<Outcome<HttpResponse>>;
  /** What a failure in the midst of a body means. */
  readonly broken: (error: unknown) => Outcome<never>;
}

/** An attempt that brought less is not progress: a registry that drips bytes must not keep us for ever. */
const minProgressBytes = 256 * 1024;
/** Nor must one that drips them in one long answer: so much has to come within each such time. */
const slowestMs = 60_000;

export async function* readBlobFrom(download: BlobDownload): AsyncGenerator<Buffer, void, undefined> {
  const { blob, where, signal } = download;
  const attempts = new Attempts(download.policy);
  let offset = download.offset;
  while (offset < blob.size) {
    const startedAt = offset;
    const opened = await download.open(offset);
    let failed = opened;
    if (opened.kind === 'done') {
      try {
        for await (const chunk of bodyFrom(opened.value, offset, download)) {
          offset += chunk.length;
          if (offset > blob.size) throw wrongLength(where, blob.size, `more than ${String(blob.size)}`);
          yield chunk;
        }
        if (offset !== blob.size) throw wrongLength(where, blob.size, `only ${String(offset)}`);
        return;
      } catch (error) {
        if (signal.aborted)
          throw new FrotaError('cancelled', `the download of ${where} was cancelled`, { cause: error });
        if (error instanceof FrotaError) throw error;
        failed = download.broken(error);
      }
    }
    if (failed.kind === 'done') return;
    if (offset - startedAt >= minProgressBytes) attempts.progress();
    await attempts.next(failed.error, failed.retryAfterMs, signal);
  }
}

/** The body's bytes from `offset` on, whether or not the registry honoured the range; its announced length is checked first. */
async function* bodyFrom(response: HttpResponse, offset: number, download: BlobDownload): AsyncGenerator<Buffer> {
  const { blob, where } = download;
  const start = response.status === 206 ? rangeStart(response) : 0;
  const announced = headerOf(response, 'content-length');
  const end = announced === undefined ? blob.size : start + Number(announced);
  if (start > offset || end !== blob.size) {
    response.body.on('error', () => undefined).destroy();
    throw wrongLength(where, blob.size, start > offset ? `a range from ${String(start)}` : String(end));
  }
  let skip = offset - start;
  let since = { atMs: performance.now(), bytes: 0 };
  for await (const chunk of response.body) {
    const bytes = chunk as Buffer;
    since.bytes += bytes.length;
    if (performance.now() - since.atMs > slowestMs) {
      // Ending the loop destroys the body, and with it the connection.
      if (since.bytes < minProgressBytes) throw new Error(`only ${String(since.bytes)} bytes came within a minute`);
      since = { atMs: performance.now(), bytes: 0 };
    }
    if (bytes.length > skip) yield skip === 0 ? bytes : bytes.subarray(skip);
    skip = Math.max(0, skip - bytes.length);
  }
}

/** `Content-Range: bytes 100-199/200` → 100. */
function rangeStart(response: HttpResponse): number {
  const match = /^bytes (\d+)-/.exec(headerOf(response, 'content-range') ?? '');
  return match === null ? Infinity : Number(match[1]);
}

const wrongLength = (where: string, size: number, got: string): FrotaError =>
  new FrotaError('corrupt', `${where} is ${String(size)} bytes long, the registry serves ${got}; push the image again`);
