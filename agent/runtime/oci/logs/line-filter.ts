/** PURE: which of a container's lines a query means, told one after the other. */
import type { LogLine, LogQuery } from '../../../../proto/domain/logs.ts';
import type { JoinedLine } from './line-joiner.ts';

export class LineFilter {
  readonly #query: LogQuery;
  /** Lines that are meant, but come before the last ones that were asked for. */
  #skip: number;
  /** Lines of the time where an earlier reading stopped; undefined once that place is passed. */
  #seen: number | undefined;

  /** The line that was told last, and its place among those of its time. */
  #time = '';
  #ordinal = 0;

  constructor(query: LogQuery, skip: number) {
    this.#query = query;
    this.#skip = skip;
    this.#seen = query.after === undefined ? undefined : 0;
  }

  /** The line with its place, where it is meant. */
  take(line: JoinedLine): LogLine | undefined {
    this.#ordinal = line.time === this.#time ? this.#ordinal + 1 : 1;
    this.#time = line.time;
    return this.#takes(line) ? { ...line, ordinal: this.#ordinal } : undefined;
  }

  #takes(line: JoinedLine): boolean {
    const { since, until, after } = this.#query;
    if (until !== undefined && line.time > until) return false;
    if (after !== undefined) return this.#isAfter(line, after);
    if (since !== undefined && line.time < since) return false;
    if (this.#skip === 0) return true;
    this.#skip -= 1;
    return false;
  }

  /** By place, not by time: once the place is passed everything is meant, also after a clock that stepped back. */
  #isAfter(line: JoinedLine, after: NonNullable<LogQuery['after']>): boolean {
    if (this.#seen === undefined) return true;
    if (line.time < after.time) return false;
    if (line.time === after.time && this.#seen < after.count) {
      this.#seen = this.#seen + 1 < after.count ? this.#seen + 1 : undefined;
      return false;
    }
    this.#seen = undefined;
    return true;
  }
}
