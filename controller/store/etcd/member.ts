/** One member of the etcd cluster: the library's client for it, without the library's own retries and resumed watches. */
import { noop } from 'cockatiel';
import { Etcd3 } from 'etcd3';
import type { IRangeRequest, IWatchRequest, IWatchResponse } from 'etcd3';
import type { EtcdEndpoints } from './endpoints.ts';

/** PEM files' bytes; `certificate` and `key` come together. */
export interface EtcdTls {
  readonly ca: Buffer;
  readonly certificate?: Buffer;
  readonly key?: Buffer;
}

export interface CallOptions {
  /** Wall clock, ms; the library itself has no default. */
  readonly deadline: number;
}

/** A watch stream as grpc-js makes it: messages wait at etcd until they are read. */
export interface WatchStream extends AsyncIterable<IWatchResponse> {
  write(request: IWatchRequest): boolean;
  cancel(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

/** etcd allows a ping each 5 s; a more frequent one ends the connection (`--grpc-keepalive-min-time`). */
const keepaliveIntervalMs = 6_000;
const keepaliveTimeoutMs = 2_000;
/** A member that restarts is back within a second. */
const firstReconnectMs = 50;
const maxReconnectMs = 1_000;

export class Member extends Etcd3 {
  /** `host:port` */
  readonly where: string;

  constructor(address: string, secure: EtcdEndpoints['secure'], tls: EtcdTls | undefined) {
    super({
      hosts: `${secure ? 'https' : 'http'}://${address}`,
      ...(tls === undefined ? {} : { credentials: credentialsOf(tls) }),
      // By default a transaction without an answer is sent again: one that was written would then be told as a conflict.
      faultHandling: { global: noop, host: () => noop },
      grpcOptions: {
        // A range or the changes a watch has to catch up with exceed the default of 4 MiB; etcd itself bounds a request.
        'grpc.max_receive_message_length': -1,
        'grpc.keepalive_time_ms': keepaliveIntervalMs,
        'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
        'grpc.initial_reconnect_backoff_ms': firstReconnectMs,
        'grpc.max_reconnect_backoff_ms': maxReconnectMs,
        'grpc.enable_http_proxy': 0,
        'grpc.enable_retries': 0,
      },
    });
    this.where = address;
  }

  /** Answers only with a quorum behind it. */
  async probe(request: IRangeRequest, options: CallOptions): Promise<void> {
    await this.kv.range({ ...request, limit: 1, keys_only: true }, options);
  }

  /**
   * A stream of its own for each watch. The library's watcher would go on from the newest revision after a break that
   * comes before it has caught up, and tells neither compaction nor a member without a leader.
   */
  openWatch(): Promise<WatchStream> {
    return this.pool.withConnection('Watch', ({ client, metadata }) => {
      // etcd then ends the stream when this member loses its leader, instead of leaving it silent.
      metadata.set('hasleader', 'true');
      const stream = (client as unknown as { watch(metadata: unknown): WatchStream }).watch(metadata);
      // Whoever reads the stream gets the error; one that comes after the last read must not end the process.
      stream.on('error', () => undefined);
      return stream;
    });
  }
}

function credentialsOf({ ca, certificate, key }: EtcdTls): {
  rootCertificate: Buffer;
  privateKey?: Buffer;
  certChain?: Buffer;
} {
  if (certificate === undefined || key === undefined) return { rootCertificate: ca };
  return { rootCertificate: ca, privateKey: key, certChain: certificate };
}
