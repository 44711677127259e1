/** What of followed logs has been told: where a stream that broke off goes on, so that no line is lost and none told twice. */
import type { LogsQuery, LogSource, LogsReply } from '../../proto/codec/streams.ts';
import { behind } from '../../proto/domain/logs.ts';
import type { LogPlace } from '../../proto/domain/logs.ts';

/** Of a task that had written nothing, from when it was known on: clocks of the cluster differ by less. */
const clockSlackMs = 2_000;

interface Told {
  /** As the printer knows the task; each stream counts anew. */
  readonly index: number;
  readonly knownAtMs: number;
  place?: LogPlace;
}

export class ToldLogs {
  readonly #query: LogsQuery;
  readonly #nowMs: () => number;
  readonly #tasks = new Map<string, Told>();
  /** Of the stream that is open: its indexes → tasks. */
  #sources = new Map<number, string>();

  constructor(query: LogsQuery, nowMs: () => number) {
    this.#query = query;
    this.#nowMs = nowMs;
  }

  /** What the next stream is asked for. */
  next(): LogsQuery {
    this.#sources = new Map();
    if (this.#tasks.size === 0) return this.#query;
    const resume = [...this.#tasks].map(([taskId, { place, knownAtMs }]) => ({
      taskId,
      ...(place === undefined ? this.#since(knownAtMs) : { after: place }),
    }));
    return { ...this.#query, resume };
  }

  /** The reply as if it came from one stream. */
  pass({ sources, lines, notices }: LogsReply): LogsReply {
    const fresh = sources.flatMap((source) => this.#learn(source) ?? []);
    const passed = lines.flatMap(({ source, line }) => {
      const task = this.#tasks.get(this.#sources.get(source) ?? '');
      if (task === undefined) return [];
      const place = behind([line]);
      if (place !== undefined) task.place = place;
      return [{ source: task.index, line }];
    });
    return { sources: fresh, lines: passed, notices };
  }

  #learn(source: LogSource): LogSource | undefined {
    const { taskId } = source;
    this.#sources.set(source.index, taskId);
    if (this.#tasks.has(taskId)) return undefined;
    const index = this.#tasks.size;
    this.#tasks.set(taskId, { index, knownAtMs: this.#nowMs() });
    return { ...source, index };
  }

  /** Without a limit of lines all of it is new; with one, what came since. */
  #since(knownAtMs: number): { readonly since?: string } {
    if (this.#query.tail === undefined) return {};
    const from = `${new Date(knownAtMs - clockSlackMs).toISOString().slice(0, -1)}000000Z`;
    const { since } = this.#query;
    return { since: since === undefined || since < from ? from : since };
  }
}
