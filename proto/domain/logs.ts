/** Lines that containers wrote, and which of them somebody wants. */

export type OutputStream = 'stdout' | 'stderr';

/** One line of a container's output. */
export interface LogLine {
  /**
   * When it was begun, by its node's clock: RFC 3339 in UTC with nine digits (`2026-11-24T12:09:34.998829041Z`), so that
   * comparing the texts compares the times. Many lines may have the same.
   */
  readonly time: string;
  readonly stream: OutputStream;
  /** As written, without the newline; any bytes. */
  readonly text: Uint8Array;
  /** Among the lines of the same time in its task's log, from 1: with the time it is the line's place. */
  readonly ordinal: number;
}

/** A place in a task's log: behind the `count`-th line of that time. */
export interface LogPlace {
  readonly time: string;
  readonly count: number;
}

/** PURE: the place behind the last of these lines. */
export function behind(lines: readonly LogLine[]): LogPlace | undefined {
  const last = lines.at(-1);
  return last && { time: last.time, count: last.ordinal };
}

/** Times as in `LogLine`. */
export interface LogQuery {
  /** From this time on. */
  readonly since?: string;
  /** Up to this time. */
  readonly until?: string;
  /** The last so many of those lines only. */
  readonly tail?: number;
  /** Where an earlier reading stopped: what comes after the `count`-th line of that time. `since` and `tail` are then moot. */
  readonly after?: LogPlace;
  /** And what is written from now on, until the container ends. */
  readonly follow: boolean;
}

/**
 * A longer line comes in pieces. Programs that write whole documents on a line stay far below; one that never ends its
 * line must fill nobody's memory.
 */
export const maxLogLineBytes = 256 * 1024;
