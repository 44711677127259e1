/** DNS over TCP: each connection asks one question after the other, and none for long. */
import type { Socket } from 'node:net';
import { maxQueryBytes } from './messages.ts';
import { framed } from './upstream.ts';

/** A client that came because an answer was cut short asks at once. */
export const idleMs = 5_000;
export const maxConnections = 128;
/** So that one container that opens them without end leaves the others their part. */
export const maxConnectionsPerContainer = 16;
const lengthBytes = 2;

export type AnswerQuestion = (packet: Buffer, source: string) => Promise<Buffer | undefined>;

export class StreamConnections {
  readonly #answer: AnswerQuestion;
  readonly #sockets = new Map<Socket, string>();

  constructor(answer: AnswerQuestion) {
    this.#answer = answer;
  }

  /** Takes a connection over, or ends it when there are too many. */
  take(socket: Socket): void {
    const source = socket.remoteAddress ?? '';
    const its = [...this.#sockets.values()].filter((each) => each === source).length;
    socket.on('error', () => undefined);
    if (this.#sockets.size >= maxConnections || its >= maxConnectionsPerContainer) {
      socket.destroy();
      return;
    }
    this.#sockets.set(socket, source);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.setTimeout(idleMs, () => socket.destroy());
    void this.#serve(socket, source);
  }

  close(): void {
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  /** Ends with the connection, never throws. Nothing more is read while an answer is being made or sent. */
  async #serve(socket: Socket, source: string): Promise<void> {
    let received: Buffer = Buffer.alloc(0);
    try {
      for await (const chunk of socket) {
        received = Buffer.concat([received, chunk as Buffer]);
        while (received.length >= lengthBytes) {
          const end = received.readUInt16BE(0) + lengthBytes;
          if (end > maxQueryBytes + lengthBytes) return;
          if (received.length < end) break;
          const response = await this.#answer(received.subarray(lengthBytes, end), source);
          if (response === undefined) return;
          await sent(socket, framed(response));
          received = received.subarray(end);
        }
      }
      socket.end();
    } catch {
      // The connection broke, or was ended for its silence.
    } finally {
      if (!socket.writableEnded) socket.destroy();
    }
  }
}

const sent = (socket: Socket, bytes: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.write(bytes, (error) => {
      if (error instanceof Error) reject(error);
      else resolve();
    });
  });
