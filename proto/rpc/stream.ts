/** Bytes on a stream, both directions, on the server. */
import { once } from 'node:events';
import type { ServerDuplexStream, ServerWritableStream } from '@grpc/grpc-js';
import { FrotaError } from '../base/errors.ts';
import type { AnyMethod } from './service.ts';

export const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** @throws FrotaError `invalid`: what cannot be read is the caller's mistake, not damage here. */
export function readRequest(method: AnyMethod, bytes: Uint8Array): unknown {
  try {
    return method.request.decode(bytes);
  } catch (cause) {
    throw new FrotaError('invalid', `the request of ${method.path} cannot be read`, { cause });
  }
}

/** Writes what the handler gives, one after the other, as fast as the peer reads, until its end or `signal`. */
export async function sendAll(
  call: ServerDuplexStream<Buffer, Buffer> | ServerWritableStream<Buffer, Buffer>,
  replies: AsyncIterable<unknown>,
  method: AnyMethod,
  signal: AbortSignal,
): Promise<void> {
  const iterator = replies[Symbol.asyncIterator]();
  const leaving = watchAbort(signal);
  try {
    for (;;) {
      // The handler may be waiting for something that never comes; the caller's leaving must not wait for it.
      const next = await leaving.orAbort(iterator.next());
      if (next.done === true) return;
      if (!call.write(asBuffer(method.reply.encode(next.value)))) {
        await leaving.orAbort(once(call, 'drain', { signal }));
      }
    }
  } finally {
    leaving.dispose();
    // Not awaited: a generator that hangs in an await of its own answers only when that ends.
    iterator.return?.().then(undefined, () => undefined);
  }
}

/**
 * One listener for the whole stream. A `Promise.race` against one long-lived promise would leave a reaction behind for
 * every message, and a session lives for months.
 */
function watchAbort(signal: AbortSignal): { orAbort: <T>(work: Promise<T>) => Promise<T>; dispose: () => void } {
  let rejectCurrent: (reason: unknown) => void = () => undefined;
  const reason = (): FrotaError => FrotaError.from(signal.reason, 'cancelled');
  const onAbort = (): void => {
    rejectCurrent(reason());
  };
  signal.addEventListener('abort', onAbort, { once: true });
  return {
    orAbort: (work) =>
      new Promise((resolve, reject) => {
        rejectCurrent = reject;
        work.then(resolve, reject);
        if (signal.aborted) reject(reason());
      }),
    dispose: () => {
      signal.removeEventListener('abort', onAbort);
    },
  };
}
