/** Lines of several tasks as one stream, by time. Those that write now are waited for, but not for ever. */
import type { SourcedLine } from '../../proto/codec/streams.ts';
import type { LogLine } from '../../proto/domain/logs.ts';

/** So long a line waits for an earlier one of another task while following: what people do not notice. */
const windowMs = 200;
/** Lines of one task that wait; then its agent is not read on. */
const maxQueued = 4_000;
/** In one message. */
const maxTaken = 1_000;

interface Queue {
  readonly lines: { readonly line: LogLine; readonly atMs: number }[];
  /** First line that was not taken yet. */
  next: number;
  open: boolean;
  room: () => void;
}

export class Merge {
  readonly #queues = new Map<number, Queue>();
  readonly #follow: boolean;
  readonly #nowMs: () => number;
  #ring: () => void = () => undefined;
  #rung = false;

  constructor(follow: boolean, nowMs: () => number) {
    this.#follow = follow;
    this.#nowMs = nowMs;
  }

  add(source: number): void {
    this.#queues.set(source, { lines: [], next: 0, open: true, room: () => undefined });
  }

  /** Resolves when there is room for more. */
  async push(source: number, lines: readonly LogLine[]): Promise<void> {
    const queue = this.#queues.get(source);
    if (queue === undefined) return;
    const atMs = this.#nowMs();
    for (const line of lines) queue.lines.push({ line, atMs });
    this.wake();
    if (queue.lines.length - queue.next >= maxQueued) {
      await new Promise<void>((resolve) => {
        queue.room = resolve;
      });
    }
  }

  end(source: number): void {
    const queue = this.#queues.get(source);
    if (queue !== undefined) queue.open = false;
    this.wake();
  }

  wake(): void {
    this.#rung = true;
    this.#ring();
  }

  /** Those who wait for room go on, in vain. */
  close(): void {
    for (const queue of this.#queues.values()) queue.room();
    this.#queues.clear();
    this.wake();
  }

  /** What may be told now, in order. */
  take(): readonly SourcedLine[] {
    const taken: SourcedLine[] = [];
    while (taken.length < maxTaken) {
      const earliest = this.#earliest();
      if (earliest === undefined) break;
      const { source, queue, line } = earliest;
      taken.push({ source, line });
      queue.next += 1;
    }
    for (const [source, queue] of this.#queues) {
      if (queue.next > 0 && queue.lines.length - queue.next < maxQueued) {
        queue.lines.splice(0, queue.next);
        queue.next = 0;
        queue.room();
      }
      if (!queue.open && queue.lines.length === 0) this.#queues.delete(source);
    }
    return taken;
  }

  /** Until something was pushed or ended, or a line has waited long enough. */
  async changed(): Promise<void> {
    if (!this.#rung) {
      await new Promise<void>((resolve) => {
        const waits = [...this.#queues.values()].some(({ lines, next }) => lines.length > next);
        const timer = waits ? setTimeout(resolve, windowMs) : undefined;
        this.#ring = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#rung = false;
  }

  /** A task that has sent nothing yet may have an earlier line. */
  #earliest(): { readonly source: number; readonly queue: Queue; readonly line: LogLine } | undefined {
    let found: { source: number; queue: Queue; line: LogLine; atMs: number } | undefined;
    let silent = false;
    for (const [source, queue] of this.#queues) {
      const head = queue.lines[queue.next];
      if (head === undefined) silent ||= queue.open;
      else if (found === undefined || head.line.time < found.line.time) found = { source, queue, ...head };
    }
    if (found === undefined || !silent) return found;
    return this.#follow && this.#nowMs() - found.atMs >= windowMs ? found : undefined;
  }
}
