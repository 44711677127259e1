/** Adapter: questions about names of the world, passed on to the node's resolvers as they came. Nothing is kept. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { isIPv6, connect } from 'node:net';
import { FrotaError, describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { pause } from '../../proto/base/pause.ts';
import { judgeReply, maxTcpBytes, withId } from './messages.ts';
import type { Query } from './messages.ts';

const resolverPort = 53;
/** The client asks five times, a second apart: what comes later than that finds nobody. */
export const forwardWithinMs = 4_500;
/** A resolver that has the name at hand answers far sooner, and the client gives up its first attempt after a second. */
export const nextServerAfterMs = 400;
/** People edit the node's `/etc/resolv.conf`, and DHCP does. */
const serversGoodForMs = 5_000;

export interface UpstreamOptions {
  readonly servers: () => Promise<readonly string[]>;
  readonly nowMs: () => number;
  readonly logger: Logger;
  /** Tests have no right to port 53 of their resolvers. */
  readonly port?: number;
}

/** An exchange with one resolver. Resolves to its reply, which is one to `query`; rejects when there will be none. */
interface Exchange {
  readonly server: string;
  readonly port: number;
  readonly id: number;
  readonly query: Query;
  readonly packet: Buffer;
  readonly signal: AbortSignal;
}

export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #port: number;
  readonly #running = new Set<AbortController>();
  #servers: readonly string[] = [];
  #readAtMs = -Infinity;
  /** The one that answered last is asked first. */
  #preferred: string | undefined;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.#port = options.port ?? resolverPort;
  }

  /**
   * The first good reply of any resolver, under the question's own id; else the reply of one that failed to find out;
   * undefined when none has said anything. Each is asked while those before it are still silent. Over TCP only when the
   * client waits for a long answer and the one over UDP was cut short.
   */
  async ask(query: Query, packet: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const servers = await this.#inOrder();
    const done = new AbortController();
    const { signal } = done;
    this.#running.add(done);
    const timer = setTimeout(() => done.abort(), forwardWithinMs);
    let failure: Buffer | undefined;
    const attempts: Promise<Buffer>[] = [];
    try {
      for (const server of servers) {
        const attempt = this.#askOne(server, query, packet, transport, signal).catch((error: unknown) => {
          if (error instanceof ResolverFailure) failure ??= error.reply;
          throw error;
        });
        attempts.push(attempt);
        // The next one is asked at once when this one fails.
        const patience = pause(nextServerAfterMs, signal).then(() => undefined);
        const reply = await Promise.race([firstOf(attempts), attempt.catch(() => undefined), patience]);
        if (reply !== undefined) return reply;
        if (signal.aborted) break;
      }
      return (await firstOf(attempts)) ?? failure;
    } finally {
      clearTimeout(timer);
      this.#running.delete(done);
      done.abort();
    }
  }

  close(): void {
    for (const done of this.#running) done.abort();
  }

  async #inOrder(): Promise<readonly string[]> {
    const nowMs = this.#options.nowMs();
    if (nowMs - this.#readAtMs > serversGoodForMs) {
      this.#readAtMs = nowMs;
      this.#servers = await this.#options.servers();
    }
    const preferred = this.#servers.filter((server) => server === this.#preferred);
    return [...preferred, ...this.#servers.filter((server) => server !== this.#preferred)];
  }

  async #askOne(
    server: string,
    query: Query,
    packet: Buffer,
    transport: 'udp' | 'tcp',
    signal: AbortSignal,
  ): Promise<Buffer> {
    const id = randomInt(0x10000);
    const exchange: Exchange = { server, port: this.#port, id, query, packet: withId(packet, id), signal };
    try {
      let reply = await overUdp(exchange);
      if (judgeReply(reply, id, query) === 'truncated' && transport === 'tcp') {
        // Where it does not speak TCP the beginning is better than nothing.
        reply = await overTcp(exchange).catch(() => reply);
      }
      const answer = withId(reply, query.id);
      if (judgeReply(reply, id, query) === 'failure') throw new ResolverFailure(answer);
      this.#preferred = server;
      return answer;
    } catch (error) {
      if (!signal.aborted) this.#options.logger.debug({ server, error: describeError(error) }, 'a resolver gave nothing'); // prettier-ignore
      throw error;
    }
  }
}

/** It answered, and says that it can't find out: another one may. */
class ResolverFailure extends Error {
  readonly reply: Buffer;

  constructor(reply: Buffer) {
    super('the resolver failed');
    this.reply = reply;
  }
}

/** The first that succeeds; undefined when all have failed. */
const firstOf = (attempts: readonly Promise<Buffer>[]): Promise<Buffer | undefined> =>
  Promise.any(attempts).catch(() => undefined);

/** A socket of its own for each question: nobody can guess its port, and only the resolver's datagrams come in. */
function overUdp({ server, port, id, query, packet, signal }: Exchange): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(server.split('%')[0] ?? '') ? 'udp6' : 'udp4');
    const end = (act: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.removeAllListeners();
      // One that was closed before it was connected still tells of it.
      socket.on('error', () => undefined);
      socket.close();
      act();
    };
    const fail = (error: Error): void => end(() => reject(FrotaError.from(error, 'unavailable')));
    const onAbort = (): void => fail(new FrotaError('deadline', `no answer from ${server}`));
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort);
    socket.on('error', fail);
    socket.on('message', (reply) => {
      if (judgeReply(reply, id, query) !== 'stranger') end(() => resolve(reply));
    });
    socket.once('connect', () => socket.send(packet));
    socket.connect(port, server);
  });
}

function overTcp({ server, port, id, query, packet, signal }: Exchange): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: server, port, signal });
    let received: Buffer = Buffer.alloc(0);
    const fail = (error: Error): void => {
      socket.destroy();
      reject(FrotaError.from(error, 'unavailable'));
    };
    socket.on('error', fail);
    socket.on('close', () => fail(new FrotaError('unavailable', `${server} closed before it had answered`)));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      const length = received.length < 2 ? maxTcpBytes : received.readUInt16BE(0);
      if (received.length < length + 2) return;
      const reply = received.subarray(2, length + 2);
      if (judgeReply(reply, id, query) === 'stranger')
        fail(new FrotaError('corrupt', `${server} answered another question`)); // prettier-ignore
      else resolve(reply);
      socket.destroy();
    });
    socket.write(framed(packet));
  });
}

/** As messages go over TCP: behind their length. */
export function framed(packet: Buffer): Buffer {
  const frame = Buffer.alloc(packet.length + 2);
  frame.writeUInt16BE(packet.length, 0);
  packet.copy(frame, 2);
  return frame;
}
