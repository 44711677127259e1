/** From a packet to the packet that answers it, whatever it came by. Bounds what is under way at the resolvers. */
import { FrotaError, describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { Attachment } from '../network/network.ts';
import { decide } from './decide.ts';
import { readQuery, writeAddresses, writeName, writeResponse } from './messages.ts';
import type { Query } from './messages.ts';
import type { NameTable } from './name-table.ts';
import type { Upstream } from './upstream.ts';

/** Each holds a socket for as long as the resolvers are silent, and a process has some thousands. */
export const maxForwarded = 512;
/** So that one container that asks without end leaves the others their part. */
export const maxForwardedPerContainer = 64;

export interface AnswererOptions {
  /** The container of this node that has an address. */
  readonly resident: (address: string) => Attachment | undefined;
  readonly upstream: Pick<Upstream, 'ask'>;
  readonly logger: Logger;
}

export class Answerer {
  readonly #options: AnswererOptions;
  #table: NameTable | undefined;
  #turn = 0;
  #forwarded = 0;
  readonly #forwardedOf = new Map<string, number>();

  constructor(options: AnswererOptions) {
    this.#options = options;
  }

  set table(table: NameTable) {
    this.#table = table;
  }

  /** Undefined: it is not to be answered. At once for names of the cluster, a promise for those of the world. */
  answer(packet: Buffer, source: string, transport: 'udp' | 'tcp'): Buffer | undefined | Promise<Buffer | undefined> {
    const asker = this.#options.resident(source);
    const incoming = readQuery(packet);
    if (asker === undefined || incoming.kind === 'noise') return undefined;
    if (incoming.kind === 'fault') return incoming.response;
    const { query } = incoming;
    // Of a container without a recorded place nothing is known that would let it see anybody.
    const place = asker.place ?? { stack: '', networks: [] };
    if (this.#table === undefined) return writeResponse(query, 'failed');
    this.#turn += 1;
    const decision = decide(query, place, this.#table, this.#turn);
    switch (decision.kind) {
      case 'addresses':
        return writeAddresses(query, decision.addresses, transport);
      case 'name':
        return writeName(query, decision.name);
      case 'nothing':
        return writeResponse(query, 'ok');
      case 'no-such-name':
        return writeResponse(query, 'noSuchName');
      case 'refusal':
        return writeResponse(query, 'refused');
      case 'forward':
        return this.#forward(query, packet, source, transport);
    }
  }

  async #forward(query: Query, packet: Buffer, source: string, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const its = this.#forwardedOf.get(source) ?? 0;
    if (this.#forwarded >= maxForwarded || its >= maxForwardedPerContainer) return writeResponse(query, 'failed');
    this.#forwarded += 1;
    this.#forwardedOf.set(source, its + 1);
    try {
      return (await this.#options.upstream.ask(query, packet, transport)) ?? writeResponse(query, 'failed');
    } catch (error) {
      const bug = FrotaError.from(error);
      this.#options.logger.warn({ error: describeError(bug) }, 'a question could not be passed on');
      return writeResponse(query, 'failed');
    } finally {
      this.#forwarded -= 1;
      const left = (this.#forwardedOf.get(source) ?? 1) - 1;
      if (left === 0) this.#forwardedOf.delete(source);
      else this.#forwardedOf.set(source, left);
    }
  }
}
