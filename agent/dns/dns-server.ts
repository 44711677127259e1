/** Adapter: the name server of this node's containers, on UDP and TCP, at an address that only they reach. */
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { performance } from 'node:perf_hooks';
import { FrotaError, describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { NetworkUnit, ServiceUnit } from '../../proto/domain/assignment.ts';
import type { Attachment } from '../network/network.ts';
import { Answerer } from './answerer.ts';
import { nameTable } from './name-table.ts';
import { readNodeTexts, serversIn } from './resolv-conf.ts';
import { StreamConnections } from './stream-connections.ts';
import { Upstream } from './upstream.ts';

export const dnsPort = 53;
/** A burst of some hundred containers that start at once waits in here and is not lost. The kernel may allow less. */
const receiveBufferBytes = 1024 * 1024;

export interface DnsServer {
  /** Takes its address and answers. Nothing happens when it does so already. @throws FrotaError `unavailable`. */
  open(): Promise<void>;
  /** What is answered from now on; always complete. */
  apply(network: NetworkUnit, services: readonly ServiceUnit[]): void;
  close(): Promise<void>;
}

export interface DnsServerOptions {
  /** The node's own in the cluster network. */
  readonly address: string;
  /** The container of this node that has an address: nobody else is answered. */
  readonly resident: (address: string) => Attachment | undefined;
  readonly logger: Logger;
  readonly port?: number;
  /** Default: those the node itself asks. */
  readonly resolvers?: { readonly servers: () => Promise<readonly string[]>; readonly port: number };
}

export function createDnsServer(options: DnsServerOptions): DnsServer {
  return new NodeDnsServer(options);
}

interface Listeners {
  readonly datagrams: Socket;
  readonly streams: Server;
}

class NodeDnsServer implements DnsServer {
  readonly #address: string;
  readonly #port: number;
  readonly #logger: Logger;
  readonly #upstream: Upstream;
  readonly #answerer: Answerer;
  readonly #connections: StreamConnections;
  #listeners: Listeners | undefined;

  constructor({ address, resident, logger, port = dnsPort, resolvers }: DnsServerOptions) {
    this.#address = address;
    this.#port = port;
    this.#logger = logger;
    this.#upstream = new Upstream({
      servers: async () => serversIn(await readNodeTexts(), address),
      nowMs: () => performance.now(),
      logger,
      ...resolvers,
    });
    this.#answerer = new Answerer({ resident, upstream: this.#upstream, logger });
    this.#connections = new StreamConnections(async (packet, source) => this.#answerer.answer(packet, source, 'tcp'));
  }

  async open(): Promise<void> {
    if (this.#listeners !== undefined) return;
    const datagrams = createSocket({ type: 'udp4', recvBufferSize: receiveBufferBytes });
    const streams = createServer({ allowHalfOpen: true }, (socket) => this.#connections.take(socket));
    try {
      datagrams.bind(this.#port, this.#address);
      await once(datagrams, 'listening');
      streams.listen(this.#port, this.#address);
      await once(streams, 'listening');
    } catch (error) {
      await closed({ datagrams, streams });
      throw openError(`${this.#address} port ${this.#port}`, error);
    }
    datagrams.on('message', (packet, { address, port }) => {
      void this.#answerDatagram(datagrams, packet, address, port);
    });
    // Neither ends by itself; should one break, the next `open` makes both anew.
    for (const listener of [datagrams, streams]) {
      listener.on('error', (error: Error) => {
        this.#logger.error({ error: describeError(error) }, 'the name server broke; it is opened anew');
        if (this.#listeners?.datagrams === datagrams) this.#listeners = undefined;
        void closed({ datagrams, streams });
      });
    }
    this.#listeners = { datagrams, streams };
  }

  apply(network: NetworkUnit, services: readonly ServiceUnit[]): void {
    this.#answerer.table = nameTable(network, services);
  }

  async close(): Promise<void> {
    const listeners = this.#listeners;
    this.#listeners = undefined;
    this.#upstream.close();
    this.#connections.close();
    if (listeners !== undefined) await closed(listeners);
  }

  async #answerDatagram(socket: Socket, packet: Buffer, address: string, port: number): Promise<void> {
    try {
      const response = await this.#answerer.answer(packet, address, 'udp');
      if (response === undefined || this.#listeners?.datagrams !== socket) return;
      // A client that is gone is no failure of ours.
      socket.send(response, port, address, () => undefined);
    } catch (error) {
      this.#logger.warn({ error: describeError(error) }, 'a question could not be answered');
    }
  }
}

async function closed({ datagrams, streams }: Listeners): Promise<void> {
  await Promise.all([
    new Promise<void>((resolve) => {
      try {
        datagrams.close(() => resolve());
      } catch {
        // It was closed before.
        resolve();
      }
    }),
    new Promise<void>((resolve) => {
      streams.close(() => resolve());
    }),
  ]);
}

function openError(where: string, error: unknown): FrotaError {
  const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
  const advice = taken ? ': another program of this machine has taken it; make that one listen on addresses of its own' : ''; // prettier-ignore
  return new FrotaError('unavailable', `the name server of the containers can't have ${where}${advice}`, {
    cause: error,
  });
}
