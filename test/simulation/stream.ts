/**
 * One call with a stream in each direction between two programs. What is sent arrives in order, or the stream breaks;
 * its two ends learn of that at different times, so that an old stream can still speak when a new one is open already.
 * Every message passes the wire's own encoding.
 */
import { FrotaError } from '../../proto/base/errors.ts';
import { keepaliveIntervalMs, keepaliveTimeoutMs } from '../../proto/rpc/limits.ts';
import { createOutbox } from '../fakes/outbox.ts';
import type { Outbox } from '../fakes/outbox.ts';
import type { Network } from './network.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface Codec<T> {
  encode(message: T): Uint8Array;
  decode(bytes: Uint8Array): T;
  /** In a few words, for the trace. */
  tell(message: T): string;
}

/** One end of a stream, as a program sees it. */
export interface End<Out extends object, In extends object> {
  send(message: Out): Promise<void>;
  readonly messages: AsyncIterable<In>;
  close(): void;
}

/** What a sender may have on its way; then it waits, as a window of flow control makes it. */
const maxInFlight = 16;
/** More than a program can be sent before it reads; a bug of the simulation if it is ever reached. */
const maxInbox = 100_000;
/** How often what a cut holds up is tried again. */
const retransmitMs = 200;

/** What streams need of the world. */
export interface StreamWorld {
  readonly time: VirtualTime;
  readonly network: Network;
  readonly random: Random;
  readonly tally: Tally;
  /** A message has arrived. */
  readonly note: (to: string, what: string) => void;
}

class Pipe<T extends object> {
  readonly #world: StreamWorld;
  readonly #ways: { from: string; to: string };
  readonly #codec: Codec<T>;
  readonly inbox: Outbox<T>;
  #queue: { bytes: Uint8Array; dueMs: number }[] = [];
  #senders: { resolve: () => void; reject: (error: FrotaError) => void }[] = [];
  #senderError: FrotaError | undefined;
  #receiverGone = false;
  #lastDueMs = 0;
  #pumping = false;
  #accepted = false;

  constructor(world: StreamWorld, ways: { from: string; to: string }, codec: Codec<T>) {
    this.#world = world;
    this.#ways = ways;
    this.#codec = codec;
    this.inbox = createOutbox<T>(maxInbox, new AbortController().signal);
  }

  accept(): void {
    this.#accepted = true;
    this.#pump();
  }

  async send(message: T): Promise<void> {
    if (this.#senderError !== undefined) throw this.#senderError;
    const { time, network } = this.#world;
    this.#lastDueMs = Math.max(this.#lastDueMs, time.nowMs + network.latencyMs());
    this.#queue.push({ bytes: Uint8Array.from(this.#codec.encode(message)), dueMs: this.#lastDueMs });
    this.#pump();
    if (this.#queue.length <= maxInFlight) return;
    await new Promise<void>((resolve, reject) => {
      this.#senders.push({ resolve, reject });
    });
  }

  /** The sender is told, or has closed; what is on its way goes on. */
  breakSender(error: FrotaError): void {
    if (this.#senderError !== undefined) return;
    this.#senderError = error;
    for (const { reject } of this.#senders.splice(0)) reject(error);
  }

  /** What has not arrived by now never does. `error` absent: an orderly end. */
  breakReceiver(error: FrotaError | undefined): void {
    if (this.#receiverGone) return;
    this.#receiverGone = true;
    if (this.#queue.length > 0) this.#world.tally.add('messages lost with their stream', this.#queue.length);
    this.#queue = [];
    for (const { resolve } of this.#senders.splice(0)) resolve();
    if (error === undefined) this.inbox.close();
    else this.inbox.fail(error);
  }

  #pump(): void {
    const head = this.#queue[0];
    if (this.#pumping || !this.#accepted || head === undefined) return;
    this.#pumping = true;
    const { time, network } = this.#world;
    time.after(head.dueMs - time.nowMs, () => {
      this.#pumping = false;
      if (this.#receiverGone) return 'quiet';
      if (!network.isOpen(this.#ways.from, this.#ways.to)) {
        head.dueMs = time.nowMs + retransmitMs;
        this.#pump();
        return 'quiet';
      }
      this.#queue.shift();
      if (this.#senderError !== undefined) this.#world.tally.add('messages of an old stream that came late');
      const message = this.#codec.decode(head.bytes);
      this.#world.note(this.#ways.to, `${this.#ways.from}: ${this.#codec.tell(message)}`);
      this.inbox.push(message);
      this.#senders.shift()?.resolve();
      this.#pump();
      return undefined;
    });
  }
}

export type Side = 'client' | 'server';

export class Stream<Up extends object, Down extends object> {
  readonly client: End<Up, Down>;
  readonly server: End<Down, Up>;
  readonly hosts: { readonly client: string; readonly server: string };
  readonly #world: StreamWorld;
  readonly #up: Pipe<Up>;
  readonly #down: Pipe<Down>;
  readonly #broken = { client: false, server: false };
  readonly #onBroken: Record<Side, () => void> = { client: () => undefined, server: () => undefined };
  readonly #unlisten: () => void;
  #cutSinceMs: number | undefined;

  constructor(
    world: StreamWorld,
    hosts: { client: string; server: string },
    codecs: { up: Codec<Up>; down: Codec<Down> },
  ) {
    this.#world = world;
    this.hosts = hosts;
    this.#up = new Pipe(world, { from: hosts.client, to: hosts.server }, codecs.up);
    this.#down = new Pipe(world, { from: hosts.server, to: hosts.client }, codecs.down);
    this.client = this.#end('client', this.#up, this.#down);
    this.server = this.#end('server', this.#down, this.#up);
    this.#unlisten = world.network.onChange(() => {
      this.#watchWays();
    });
  }

  get open(): boolean {
    return !this.#broken.client || !this.#broken.server;
  }

  isBroken(side: Side): boolean {
    return this.#broken[side];
  }

  onBroken(side: Side, work: () => void): void {
    this.#onBroken[side] = work;
  }

  /** The server has taken the call: what was sent so far goes on. */
  accept(): void {
    this.#up.accept();
    this.#down.accept();
    this.#watchWays();
  }

  /** This end is over; the other one hears of it if there is a way. `error` is what that one sees; absent: an orderly end. */
  finish(side: Side, error?: FrotaError): void {
    if (this.#broken[side]) return;
    this.#breakHere(side, gone(side));
    const { network, time } = this.#world;
    const other = otherSide(side);
    // Behind what this end has sent; a close overtakes nothing.
    time.after(network.latencyMs() * 2, () => {
      if (!network.isOpen(this.hosts[side], this.hosts[other])) return 'quiet';
      this.breakEnd(other, error ?? gone(other));
      return undefined;
    });
  }

  /** This end alone is told that the stream is broken. */
  breakEnd(side: Side, error: FrotaError = gone(side)): void {
    if (!this.#broken[side]) this.#breakHere(side, error);
  }

  #breakHere(side: Side, error: FrotaError): void {
    this.#broken[side] = true;
    const [sends, receives] = side === 'client' ? [this.#up, this.#down] : [this.#down, this.#up];
    sends.breakSender(error);
    receives.breakReceiver(error);
    if (this.#broken.client && this.#broken.server) this.#unlisten();
    this.#onBroken[side]();
  }

  /** An end that was not there to hear of the other's going is refused when it next asks whether the other lives. */
  #tellLeftOver(): void {
    const { network, time, random } = this.#world;
    const { client, server } = this.hosts;
    if (this.#broken.client === this.#broken.server) return;
    const left = this.#broken.client ? 'server' : 'client';
    time.after(random.between(0, keepaliveIntervalMs), () => {
      if (this.#broken[left] || !network.isOpen(client, server) || !network.isOpen(server, client)) return 'quiet';
      this.breakEnd(left);
      return undefined;
    });
  }

  #end<Out extends object, In extends object>(side: Side, sends: Pipe<Out>, receives: Pipe<In>): End<Out, In> {
    return {
      send: (message) => sends.send(message),
      messages: receives.inbox,
      close: () => {
        this.finish(side);
      },
    };
  }

  /** Each end gives a stream up, in its own time, that nothing has come over for as long as its keepalive waits. */
  #watchWays(): void {
    const { network, time, random } = this.#world;
    const { client, server } = this.hosts;
    if (network.isOpen(client, server) && network.isOpen(server, client)) {
      this.#cutSinceMs = undefined;
      this.#tellLeftOver();
      return;
    }
    if (this.#cutSinceMs !== undefined) return;
    const sinceMs = time.nowMs;
    this.#cutSinceMs = sinceMs;
    for (const side of ['client', 'server'] as const) {
      time.after(random.between(keepaliveTimeoutMs, keepaliveIntervalMs + keepaliveTimeoutMs), () => {
        if (this.#cutSinceMs !== sinceMs || this.#broken[side]) return 'quiet';
        this.breakEnd(side);
        return undefined;
      });
    }
  }
}

const otherSide = (side: Side): Side => (side === 'client' ? 'server' : 'client');

const gone = (side: Side): FrotaError =>
  side === 'client'
    ? new FrotaError('unavailable', 'the connection to the controller is broken')
    : new FrotaError('cancelled', 'the caller is gone');
