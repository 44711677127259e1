/** The three kinds of calls, on the client. Every failure is a FrotaError that says which controller and which method. */
import { isIP } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { FrotaError } from '../base/errors.ts';
import { hostOf } from './context.ts';
import type { AnyMethod } from './service.ts';
import { fromStatusError } from './status.ts';
import type { CallPlace } from './status.ts';
import { asBuffer } from './stream.ts';

export interface CallOptions {
  /** From now until the reply; there is no call without one. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

export interface StreamOptions {
  /** Aborting it ends the stream; iteration then throws `cancelled`. */
  readonly signal: AbortSignal;
}

/** Iterating gives what the controller sends, once; it ends when the controller does, and throws FrotaError otherwise. */
export interface Duplex<Request, Reply> extends AsyncIterable<Reply> {
  /** Resolves when there is room for more. @throws FrotaError when the stream is over. */
  write(message: Request): Promise<void>;
  /** IP address of the controller that answers; undefined before it has. */
  remoteAddress(): string | undefined;
  /** Says that nothing more is written; the controller may still send. */
  end(): void;
  /** Ends the stream now, in both directions. */
  close(): void;
}

const bytes = (buffer: Buffer): Buffer => buffer;

export function unary(
  channel: grpc.Client,
  address: string,
  method: AnyMethod,
  request: unknown,
  { deadlineMs, signal }: CallOptions,
): Promise<unknown> {
  const place: CallPlace = { address, path: method.path, deadlineMs };
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) throw new FrotaError('cancelled', `the call of ${method.path} was cancelled`);
    const payload = asBuffer(method.request.encode(request));
    const options = { deadline: Date.now() + deadlineMs };
    const onAbort = (): void => {
      call.cancel();
    };
    const call = channel.makeUnaryRequest(method.path, bytes, bytes, payload, options, (error, reply) => {
      signal?.removeEventListener('abort', onAbort);
      if (error !== null) {
        reject(fromStatusError(error, place));
        return;
      }
      try {
        resolve(method.reply.decode(reply ?? Buffer.alloc(0)));
      } catch (thrown) {
        reject(unreadable(thrown, place));
      }
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

export async function* serverStream(
  channel: grpc.Client,
  address: string,
  method: AnyMethod,
  request: unknown,
  { signal }: StreamOptions,
): AsyncGenerator {
  if (signal.aborted) throw new FrotaError('cancelled', `the call of ${method.path} was cancelled`);
  const payload = asBuffer(method.request.encode(request));
  const place: CallPlace = { address, path: method.path };
  const call = channel.makeServerStreamRequest(method.path, bytes, bytes, payload);
  yield* replies(call, method, place, outcomeOf(call, place, signal));
}

export function openDuplex(
  channel: grpc.Client,
  address: string,
  method: AnyMethod,
  { signal }: StreamOptions,
): Duplex<unknown, unknown> {
  const place: CallPlace = { address, path: method.path };
  const call = channel.makeBidiStreamRequest(method.path, bytes, bytes);
  const outcome = outcomeOf(call, place, signal);
  return {
    write: async (message) => {
      const payload = asBuffer(method.request.encode(message));
      const over = outcome.error();
      if (over !== undefined) throw over;
      if (!call.write(payload)) await Promise.race([roomIn(call), outcome.finished]);
    },
    remoteAddress: () => {
      // Before there is a connection this is the target, which may be a list or a name.
      const host = hostOf(call.getPeer());
      return isIP(host) === 0 ? undefined : host;
    },
    end: () => {
      call.end();
    },
    close: () => {
      call.cancel();
    },
    [Symbol.asyncIterator]: () => replies(call, method, place, outcome),
  };
}

/** How a stream ended, also for those who look at it only later. */
interface Outcome {
  /** What writing or reading on must throw; undefined while the stream is open. */
  error(): FrotaError | undefined;
  /** True once it has ended well. */
  succeeded(): boolean;
  readonly finished: Promise<void>;
}

type StreamCall = grpc.ClientReadableStream<Buffer> | grpc.ClientDuplexStream<Buffer, Buffer>;

/** Watches the call until its status, and cancels it when `signal` aborts. */
function outcomeOf(stream: StreamCall, place: CallPlace, signal: AbortSignal): Outcome {
  // Both kinds have the same events, but as a union no callable overload.
  const call = stream as grpc.ClientReadableStream<Buffer>;
  let error: FrotaError | undefined;
  let succeeded = false;
  const onAbort = (): void => {
    call.cancel();
  };
  // grpc-js emits `error` whether or not somebody reads; without a listener it would end the process.
  call.on('error', (thrown: Error) => {
    error = fromStatusError(thrown, place);
  });
  const finished = new Promise<void>((resolve) => {
    call.once('status', (status: grpc.StatusObject) => {
      signal.removeEventListener('abort', onAbort);
      succeeded = status.code === grpc.status.OK;
      error ??= new FrotaError('unavailable', `the stream of ${place.path} at ${place.address} has ended`);
      resolve();
    });
  });
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return { error: () => error, succeeded: () => succeeded, finished };
}

async function* replies(call: StreamCall, method: AnyMethod, place: CallPlace, outcome: Outcome): AsyncGenerator {
  try {
    for await (const payload of call) {
      try {
        yield method.reply.decode(payload as Buffer);
      } catch (thrown) {
        throw unreadable(thrown, place);
      }
    }
    await outcome.finished;
  } catch (thrown) {
    throw fromStatusError(thrown, place);
  } finally {
    call.cancel();
  }
  // An error that came before anybody read is not told to the iteration.
  const error = outcome.error();
  if (error !== undefined && !outcome.succeeded()) throw error;
}

const roomIn = (call: grpc.ClientDuplexStream<Buffer, Buffer>): Promise<void> =>
  new Promise((resolve) => {
    call.once('drain', resolve);
  });

function unreadable(thrown: unknown, { address, path }: CallPlace): FrotaError {
  return new FrotaError('corrupt', `the reply of ${path} from ${address} cannot be read: is it another version?`, {
    cause: thrown,
  });
}
