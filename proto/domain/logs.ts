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
  readonly after?: { readonly time: string; readonly count: number };
  /** And what is written from now on, until the container ends. */
  readonly follow: boolean;
}

/**
 * A longer line comes in pieces. Programs that write whole documents on a line stay far below; one that never ends its
 * line must fill nobody's memory.
 */
export const maxLogLineBytes = 256 * 1024;
