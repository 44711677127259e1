/** A gRPC server with typed handlers. What handlers throw becomes a status; nothing they do can end the process. */
import { setImmediate as immediate } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import { unreachable } from '../base/assert.ts';
import { describeError, FrotaError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { contextOf } from './context.ts';
import type { CallContext } from './context.ts';
import {
  closeGraceMs,
  keepaliveIntervalMs,
  keepaliveTimeoutMs,
  maxMessageBytes,
  maxStreamsPerConnection,
} from './limits.ts';
import type { AnyMethod, Method, Service } from './service.ts';
import { silenceTransport } from './transport-log.ts';
import { toStatusError } from './status.ts';
import { asBuffer, readRequest, sendAll } from './stream.ts';

/**
 * How a method is implemented. Streams are pulled only as fast as the peer reads. When `context.signal` aborts, the
 * iteration is ended; a handler that waits for something else meanwhile must watch the signal itself.
 */
export type Handler<M> =
  M extends Method<'unary', infer Request, infer Reply>
    ? (request: Request, context: CallContext) => Promise<Reply>
    : M extends Method<'serverStream', infer Request, infer Reply>
      ? (request: Request, context: CallContext) => AsyncIterable<Reply>
      : M extends Method<'duplex', infer Request, infer Reply>
        ? (incoming: AsyncIterable<Request>, context: CallContext) => AsyncIterable<Reply>
        : never;

export type Handlers<S extends Service> = { readonly [N in keyof S]: Handler<S[N]> };

/** All PEM. `certificate` may be a chain; it is sent whole. */
export interface ServerTls {
  readonly certificate: string;
  readonly key: string;
  /** Callers' certificates must descend from it. */
  readonly ca: string;
  /** False on the join port only. */
  readonly requireClientCertificate: boolean;
}

export interface ServerOptions {
  readonly tls: ServerTls;
  readonly logger: Logger;
}

export interface Listening {
  readonly port: number;
}

export interface RpcServer {
  add<S extends Service>(service: S, handlers: Handlers<S>): void;
  /** `host:port`, port 0 for any free one. @throws FrotaError `unavailable` when the port cannot be had. */
  listen(address: string): Promise<Listening>;
  /** Takes no more calls, ends streams with `unavailable`, lets unary calls finish for `closeGraceMs`, then cuts. */
  close(): Promise<void>;
}

type ServerCall = grpc.ServerDuplexStream<Buffer, Buffer>;
/** A handler whose types were checked where it was added. */
type AnyHandler = (input: unknown, context: CallContext) => unknown;

export function createServer({ tls, logger }: ServerOptions): RpcServer {
  silenceTransport();
  const server = new grpc.Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc.max_concurrent_streams': maxStreamsPerConnection,
    'grpc.keepalive_time_ms': keepaliveIntervalMs,
    'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
  });
  const around: Surroundings = { logger, closing: false, streams: new Set() };
  let closed: Promise<void> | undefined;
  return {
    add: (service, handlers) => {
      for (const [name, method] of Object.entries<AnyMethod>(service)) {
        register(server, method, handlers[name] as AnyHandler, around);
      }
    },
    listen: (address) => listen(server, address, tls),
    close: () => {
      around.closing = true;
      for (const stop of around.streams) stop();
      closed ??= shutDown(server);
      return closed;
    },
  };
}

interface Surroundings {
  readonly logger: Logger;
  /** Set once, when the server is told to close. */
  closing: boolean;
  /** What ends each open stream. A set, because Node warns of more than ten listeners on one signal. */
  readonly streams: Set<() => void>;
}

function register(server: grpc.Server, method: AnyMethod, handler: AnyHandler, around: Surroundings): void {
  const bytes = (buffer: Buffer): Buffer => buffer;
  switch (method.kind) {
    case 'unary':
      server.register(method.path, unary(method, handler, around), bytes, bytes, 'unary');
      return;
    case 'serverStream':
      server.register(method.path, streaming(method, handler, around), bytes, bytes, 'serverStream');
      return;
    case 'duplex':
      server.register(method.path, streaming(method, handler, around), bytes, bytes, 'bidi');
      return;
    default:
      unreachable(method.kind);
  }
}

function unary(method: AnyMethod, handler: AnyHandler, { logger }: Surroundings): grpc.handleUnaryCall<Buffer, Buffer> {
  return (call, callback) => {
    const answer = async (): Promise<void> => {
      try {
        const { context } = contextOf(call, method.path);
        const reply: unknown = await handler(readRequest(method, call.request), context);
        callback(null, asBuffer(method.reply.encode(reply)));
      } catch (thrown) {
        callback(toStatusError(reportable(thrown, method, logger)));
      }
    };
    void answer();
  };
}

/** Server streams and duplexes: the same but for what the handler is given. */
function streaming(method: AnyMethod, handler: AnyHandler, around: Surroundings) {
  return (call: ServerCall | grpc.ServerWritableStream<Buffer, Buffer>): void => {
    const { context, abort } = contextOf(call, method.path);
    const stopping = new FrotaError('unavailable', 'the controller is stopping; its next start or another one answers');
    const stop = (): void => {
      abort(stopping);
    };
    around.streams.add(stop);
    const answer = async (): Promise<void> => {
      try {
        if (around.closing) throw stopping;
        const input: unknown = 'request' in call ? readRequest(method, call.request) : incoming(call, method, context);
        await sendAll(call, handler(input, context) as AsyncIterable<unknown>, method, context.signal);
        call.end();
      } catch (thrown) {
        const error = around.closing ? stopping : reportable(thrown, method, around.logger);
        // grpc-js makes the status of the error emitted; a listener of its own is always there.
        call.emit('error', toStatusError(error));
      } finally {
        around.streams.delete(stop);
      }
    };
    void answer();
  };
}

async function* incoming(call: ServerCall, method: AnyMethod, { signal }: CallContext): AsyncGenerator {
  try {
    // The handler may stop reading and still have things to send, so the end of this iteration is not the call's.
    for await (const bytes of call.iterator({ destroyOnReturn: false })) yield readRequest(method, bytes as Buffer);
  } catch (thrown) {
    if (signal.aborted && !(thrown instanceof FrotaError)) {
      throw new FrotaError('cancelled', `the caller of ${method.path} is gone`, { cause: thrown });
    }
    throw thrown;
  }
  // A cancelled call first looks like one whose caller has said all; grpc-js tells the difference a tick later.
  await immediate();
  if (signal.aborted) throw new FrotaError('cancelled', `the caller of ${method.path} is gone`);
}

/** What the caller may know. A bug's text stays in the log: it may name what is none of the caller's business. */
function reportable(thrown: unknown, method: AnyMethod, logger: Logger): FrotaError {
  if (thrown instanceof FrotaError && thrown.code !== 'internal') return thrown;
  if (thrown instanceof Error && thrown.name === 'AbortError') return FrotaError.from(thrown);
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  logger.error({ path: method.path, error: describeError(thrown), stack }, 'a handler failed; this is a bug of Frota');
  return new FrotaError('internal', `${method.path} failed inside the controller; its log says why`);
}

async function listen(server: grpc.Server, address: string, tls: ServerTls): Promise<Listening> {
  const pair = { cert_chain: Buffer.from(tls.certificate), private_key: Buffer.from(tls.key) };
  const credentials = grpc.ServerCredentials.createSsl(Buffer.from(tls.ca), [pair], tls.requireClientCertificate);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, credentials, (cause, bound) => {
      if (cause === null) resolve(bound);
      else reject(new FrotaError('unavailable', `cannot listen on ${address}: is another program there?`, { cause }));
    });
  });
  return { port };
}

async function shutDown(server: grpc.Server): Promise<void> {
  await new Promise<void>((resolve) => {
    const cut = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, closeGraceMs);
    server.tryShutdown(() => {
      clearTimeout(cut);
      resolve();
    });
  });
}
