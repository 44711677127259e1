/** Typed calls to the controllers of one cluster over one connection. */
import { isIP, isIPv4, isIPv6 } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { unreachable } from '../base/assert.ts';
import { FrotaError } from '../base/errors.ts';
import { openDuplex, serverStream, unary } from './call.ts';
import type { CallOptions, Duplex, StreamOptions } from './call.ts';
import {
  controllerServerName,
  firstReconnectMs,
  keepaliveIntervalMs,
  keepaliveTimeoutMs,
  maxMessageBytes,
  maxReconnectMs,
} from './limits.ts';
import type { AnyMethod, Method, Service } from './service.ts';
import { silenceTransport } from './transport-log.ts';

export type Call<M> =
  M extends Method<'unary', infer Request, infer Reply>
    ? (request: Request, options: CallOptions) => Promise<Reply>
    : M extends Method<'serverStream', infer Request, infer Reply>
      ? (request: Request, options: StreamOptions) => AsyncIterable<Reply>
      : M extends Method<'duplex', infer Request, infer Reply>
        ? (options: StreamOptions) => Duplex<Request, Reply>
        : never;

export type Client<S extends Service> = { readonly [N in keyof S]: Call<S[N]> };

/** All PEM. Certificate and key are absent on the join port only. */
export interface ClientTls {
  readonly ca: string;
  readonly certificate?: string;
  readonly key?: string;
}

export interface ConnectionOptions {
  /** `host:port` of each controller, tried in order; where there are several, by IP address. */
  readonly addresses: readonly string[];
  readonly tls: ClientTls;
}

export interface Connection {
  /** The addresses as given, for messages. */
  readonly address: string;
  readonly channel: grpc.Client;
  /** True when there is a connection; false after `withinMs` without one: the call that follows then says why. */
  ready(withinMs: number): Promise<boolean>;
  close(): void;
}

/** Opens lazily, at the first call, and again by itself. @throws FrotaError `invalid` for addresses of a wrong form. */
export function connect({ addresses, tls }: ConnectionOptions): Connection {
  silenceTransport();
  const channel = new grpc.Client(targetOf(addresses), credentialsOf(tls), {
    'grpc.ssl_target_name_override': controllerServerName,
    'grpc.default_authority': controllerServerName,
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc.keepalive_time_ms': keepaliveIntervalMs,
    'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
    'grpc.initial_reconnect_backoff_ms': firstReconnectMs,
    'grpc.max_reconnect_backoff_ms': maxReconnectMs,
    // A proxy in the environment is for the internet, not for the cluster's own machines.
    'grpc.enable_http_proxy': 0,
    // Retries are decided by callers, who know what may be repeated; grpc-js's would also hold each message back.
    'grpc.enable_retries': 0,
    // Connections end with their owner; sharing would keep those with an old certificate.
    'grpc.use_local_subchannel_pool': 1,
  });
  return {
    address: addresses.join(','),
    channel,
    ready: (withinMs) =>
      new Promise((resolve) => {
        channel.waitForReady(Date.now() + withinMs, (error) => {
          resolve(error === undefined);
        });
      }),
    close: () => {
      channel.close();
    },
  };
}

export function createClient<S extends Service>(service: S, connection: Connection): Client<S> {
  const calls = Object.entries<AnyMethod>(service).map(([name, method]) => [name, callOf(method, connection)] as const);
  return Object.fromEntries(calls) as Client<S>;
}

function callOf(method: AnyMethod, { channel, address }: Connection): unknown {
  switch (method.kind) {
    case 'unary':
      return (request: unknown, options: CallOptions) => unary(channel, address, method, request, options);
    case 'serverStream':
      return (request: unknown, options: StreamOptions) => serverStream(channel, address, method, request, options);
    case 'duplex':
      return (options: StreamOptions) => openDuplex(channel, address, method, options);
    default:
      return unreachable(method.kind);
  }
}

function credentialsOf({ ca, certificate, key }: ClientTls): grpc.ChannelCredentials {
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
  try {
    return grpc.credentials.createSsl(Buffer.from(ca), pem(key), pem(certificate));
  } catch (cause) {
    throw new FrotaError('invalid', 'the certificate, its key or the CA certificate cannot be used', { cause });
  }
}

/** gRPC names (github.com/grpc/grpc, doc/naming.md): `ipv4:` and `ipv6:` take lists, `dns:` takes one name. */
export function targetOf(addresses: readonly string[]): string {
  const parsed = addresses.map(parseAddress);
  const [first] = parsed;
  if (first === undefined) throw new FrotaError('invalid', 'no address of a controller is given');
  if (parsed.every(({ host }) => isIPv4(host))) return `ipv4:${parsed.map(joinAddress).join(',')}`;
  if (parsed.every(({ host }) => isIPv6(host))) return `ipv6:${parsed.map(joinAddress).join(',')}`;
  if (parsed.length === 1) return `dns:${joinAddress(first)}`;
  const list = addresses.join(', ');
  throw new FrotaError('invalid', `several controllers are given as IP addresses of one kind, not as names: ${list}`);
}

const maxPort = 65_535;

/** `host:port` or `[ipv6]:port`. @throws FrotaError `invalid`. */
export function parseAddress(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/,]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3]);
  if (host === '' || !(port >= 1 && port <= maxPort) || (match?.[1] !== undefined && !isIPv6(host))) {
    throw new FrotaError('invalid', `"${address}" is no address: write host:port, such as 10.0.0.1:7400`);
  }
  return { host, port };
}

const joinAddress = ({ host, port }: { host: string; port: number }): string =>
  isIP(host) === 6 ? `[${host}]:${String(port)}` : `${host}:${String(port)}`;
