/** What happened, in order: the end of it for people, a digest of all of it to tell two runs apart. */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import type { Logger } from '../../proto/base/log.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Enough to see how a failure came about; `--trace` prints everything. */
const keptLines = 400;
/** Lines hashed in one go. */
const linesPerUpdate = 256;

export class Trace {
  readonly #time: VirtualTime;
  readonly #print: ((line: string) => void) | undefined;
  readonly #hash: Hash = createHash('sha256');
  #pending: string[] = [];
  #kept: string[] = [];

  constructor(time: VirtualTime, print?: (line: string) => void) {
    this.#time = time;
    this.#print = print;
  }

  note(who: string, what: string): void {
    const line = `${this.#time.nowMs.toFixed(3).padStart(11)} ${who.padEnd(6)} ${what}`;
    this.#print?.(line);
    this.#pending.push(line);
    this.#kept.push(line);
    if (this.#pending.length >= linesPerUpdate) this.#digestPending();
    if (this.#kept.length > 2 * keptLines) this.#kept = this.#kept.slice(-keptLines);
  }

  /** The last part. */
  tail(lines: number): readonly string[] {
    return this.#kept.slice(-lines);
  }

  /** Of every line so far, and the end of the trace: nothing is noted after it. */
  digest(): string {
    this.#digestPending();
    return this.#hash.digest('hex').slice(0, 16);
  }

  /** What a simulated program logs is part of the trace; a dead one says nothing. */
  logger(who: string, isAlive: () => boolean): Logger {
    const say =
      (level: string) =>
      (fields: Record<string, unknown>, message: string): void => {
        if (isAlive()) this.note(who, `${level} ${message} ${JSON.stringify(fields)}`);
      };
    const logger: Logger = {
      debug: say('debug'),
      info: say('info'),
      warn: say('warn'),
      error: say('error'),
      child: () => logger,
    };
    return logger;
  }

  #digestPending(): void {
    this.#hash.update(this.#pending.join('\n'));
    this.#pending = [];
  }
}
