/** PURE: conmon's entries → the lines that were written. */
import { maxLogLineBytes, type LogLine, type OutputStream } from '../../../../proto/domain/logs.ts';
import type { LogEntry } from './log-entry.ts';

interface Begun {
  readonly time: string;
  readonly parts: Buffer[];
  bytes: number;
}

/** Its ordinal is known to who reads the log from the start of its time. */
export type JoinedLine = Omit<LogLine, 'ordinal'>;

export class LineJoiner {
  readonly #begun = new Map<OutputStream, Begun>();
  /** Streams whose line was cut for its length: an end without text is then no line of its own. */
  readonly #cut = new Set<OutputStream>();

  /** The line that this entry ends. */
  push(entry: LogEntry): JoinedLine | undefined {
    const { time, stream, complete, text } = entry;
    const begun = this.#begun.get(stream);
    if (begun === undefined && complete) {
      const onlyEnds = this.#cut.delete(stream) && text.length === 0;
      return onlyEnds ? undefined : { time, stream, text };
    }
    const line = begun ?? { time, parts: [], bytes: 0 };
    line.parts.push(text);
    line.bytes += text.length;
    if (!complete && line.bytes < maxLogLineBytes) {
      this.#begun.set(stream, line);
      return undefined;
    }
    this.#begun.delete(stream);
    if (complete) this.#cut.delete(stream);
    else this.#cut.add(stream);
    return { time: line.time, stream, text: Buffer.concat(line.parts) };
  }

  /** Lines that were begun and will not be ended. */
  flush(): readonly JoinedLine[] {
    const lines = [...this.#begun].map(([stream, { time, parts }]) => ({ time, stream, text: Buffer.concat(parts) }));
    this.#begun.clear();
    return lines.sort((a, b) => (a.time < b.time ? -1 : 1));
  }
}
