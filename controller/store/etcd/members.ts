/**
 * The members of the etcd cluster. One of them is talked to until it fails; then all are asked, and the first that
 * answers, with a quorum behind it, is next. So a write is sent only to a member that was well a moment ago, and once:
 * whether one without an answer was written is not known.
 */
import { backoffMs } from '../../../proto/base/backoff.ts';
import type { BackoffPolicy } from '../../../proto/base/backoff.ts';
import { describeError, FrotaError } from '../../../proto/base/errors.ts';
import type { Logger } from '../../../proto/base/log.ts';
import { pause } from '../../../proto/base/pause.ts';
import { storeClosed } from '../change-feed.ts';
import type { EtcdEndpoints } from './endpoints.ts';
import { etcdError, isOutOfRange } from './etcd-errors.ts';
import { Member } from './member.ts';
import type { CallOptions, EtcdTls, WatchStream } from './member.ts';

/** An election of a leader takes etcd one to two seconds; what takes longer than this somebody must look at. */
export const callTimeoutMs = 5_000;
/** A member that has not answered a read of one key by then is none to rely on. */
const probeTimeoutMs = 1_500;
/** Reads of one call at the most, should members answer probes and then fail. */
const maxReads = 5;
const probeBackoff: BackoffPolicy = { firstMs: 20, factor: 2, maxMs: 500 };

export interface OpenWatch {
  readonly stream: WatchStream;
  readonly where: string;
  /** Aborted when the member is given up. */
  readonly lost: AbortSignal;
}

export interface Members {
  /**
   * @throws FrotaError `unavailable` when no member answers in time, others as `etcdError`; what the library throws for a
   * revision out of range comes through.
   */
  read<T>(work: (member: Member, options: CallOptions) => Promise<T>): Promise<T>;
  /** As `read`, but sent at most once. */
  write<T>(work: (member: Member, options: CallOptions) => Promise<T>): Promise<T>;
  /** On the member that is talked to now. */
  openWatch(): Promise<OpenWatch>;
  close(): void;
}

interface Choice {
  readonly member: Member;
  readonly lost: AbortController;
}

export interface MemberOptions {
  readonly endpoints: EtcdEndpoints;
  readonly tls?: EtcdTls;
  /** Read to see whether a member answers. */
  readonly probeKey: Buffer;
  readonly logger: Logger;
}

export function connectMembers(options: MemberOptions): Members {
  return new Connection(options);
}

class Connection implements Members {
  readonly #options: MemberOptions;
  readonly #members: readonly Member[];
  #choice: Choice | undefined;
  #search: Promise<Choice> | undefined;
  readonly #closed = new AbortController();

  constructor(options: MemberOptions) {
    const { endpoints, tls } = options;
    this.#options = options;
    this.#members = endpoints.addresses.map((address) => new Member(address, endpoints.secure, tls));
  }

  read<T>(work: (member: Member, options: CallOptions) => Promise<T>): Promise<T> {
    return this.#call(work, maxReads);
  }

  write<T>(work: (member: Member, options: CallOptions) => Promise<T>): Promise<T> {
    return this.#call(work, 1);
  }

  async openWatch(): Promise<OpenWatch> {
    const choice = await this.#choose(performance.now() + callTimeoutMs);
    const { where } = choice.member;
    try {
      return { stream: await choice.member.openWatch(), where, lost: choice.lost.signal };
    } catch (thrown) {
      throw this.#isClosed() ? storeClosed() : etcdError(thrown, where);
    }
  }

  close(): void {
    this.#closed.abort();
    this.#choice?.lost.abort();
    for (const member of this.#members) member.close();
  }

  #isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  async #call<T>(work: (member: Member, options: CallOptions) => Promise<T>, attempts: number): Promise<T> {
    const untilMs = performance.now() + callTimeoutMs;
    for (let attempt = 1; ; attempt += 1) {
      const choice = await this.#choose(untilMs);
      try {
        return await work(choice.member, { deadline: Date.now() + Math.max(1, untilMs - performance.now()) });
      } catch (thrown) {
        if (this.#isClosed()) throw storeClosed();
        if (isOutOfRange(thrown)) throw thrown;
        const error = etcdError(thrown, choice.member.where);
        if (error.code !== 'unavailable') throw error;
        this.#giveUp(choice, error);
        if (attempt >= attempts || performance.now() >= untilMs) throw error;
      }
    }
  }

  #giveUp(choice: Choice, error: FrotaError): void {
    if (this.#choice !== choice) return;
    this.#choice = undefined;
    this.#options.logger.warn({ member: choice.member.where, error: describeError(error) }, 'etcd member given up');
    choice.lost.abort();
  }

  /** The member talked to now, or the first that answers before `untilMs`. */
  async #choose(untilMs: number): Promise<Choice> {
    for (let attempt = 0; ; attempt += 1) {
      if (this.#isClosed()) throw storeClosed();
      if (this.#choice !== undefined) return this.#choice;
      try {
        // One search for all that wait.
        return await (this.#search ??= this.#searchOnce().finally(() => (this.#search = undefined)));
      } catch (error) {
        const waitMs = backoffMs(probeBackoff, attempt, Math.random());
        if (this.#isClosed()) throw storeClosed();
        if (FrotaError.from(error).code !== 'unavailable' || performance.now() + waitMs > untilMs) throw error;
        await pause(waitMs, this.#closed.signal);
      }
    }
  }

  async #searchOnce(): Promise<Choice> {
    const { probeKey, logger } = this.#options;
    const deadline = Date.now() + probeTimeoutMs;
    try {
      const member = await Promise.any(
        this.#members.map(async (each) => {
          await each.probe({ key: probeKey }, { deadline });
          return each;
        }),
      );
      logger.info({ member: member.where }, 'talking to this etcd member');
      this.#choice = { member, lost: new AbortController() };
      return this.#choice;
    } catch (thrown) {
      const errors = thrown instanceof AggregateError ? (thrown.errors as unknown[]) : [thrown];
      throw nobodyAnswers(errors.map((error, index) => etcdError(error, this.#members[index]?.where ?? 'etcd')));
    }
  }
}

function nobodyAnswers(errors: readonly FrotaError[]): FrotaError {
  // Who refuses will go on refusing; who does not answer may come back.
  const refusal = errors.find(({ code }) => code !== 'unavailable');
  if (refusal !== undefined) return refusal;
  return new FrotaError(
    'unavailable',
    `no member of etcd answers (${errors.map(describeError).join('; ')}): check that etcd runs there, that its --listen-client-urls ` +
      'can be reached from this machine, that most of its members are up, and whether it wants TLS (etcds://)',
  );
}
