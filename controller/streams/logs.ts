/** Logs of whatever was named: a reader for each task, opened again where it broke, and one merged stream for the caller. */
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import { pause } from '../../proto/base/pause.ts';
import type { LogsQuery, LogSource, LogsReply, ResumedTask } from '../../proto/codec/streams.ts';
import type { ExecInput } from '../../proto/domain/exec.ts';
import { behind } from '../../proto/domain/logs.ts';
import type { LogLine, LogPlace, LogQuery } from '../../proto/domain/logs.ts';
import type { Task } from '../../proto/domain/task.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import type { Broker } from './broker.ts';
import { Merge } from './merge.ts';
import { hasEnded, matches, targetOf } from './targets.ts';

export interface LogPorts {
  readonly snapshot: () => Snapshot;
  readonly onChange: (listener: () => void) => () => void;
  readonly broker: Broker;
  readonly nowMs: () => number;
}

/** Tasks in one call; each is a stream of its node. */
const maxSources = 256;
const maxTargets = 64;
/** An agent that restarts is back within a second or two; one that is away for longer is told, and tried on. */
const retryMs = 500;
/** Of a task that has not been asked for with `follow`: then its node is given up. */
const maxTries = 6;

/** Throws FrotaError for what can't be read at all; what concerns one task or node is a notice. */
export async function* readLogs(ports: LogPorts, query: LogsQuery, signal: AbortSignal): AsyncIterable<LogsReply> {
  if (query.targets.length === 0 || query.targets.length > maxTargets) {
    throw new FrotaError('invalid', `name at least one service, stack or task, and at most ${String(maxTargets)}`);
  }
  const targets = query.targets.map((written) => targetOf(ports.snapshot(), written));
  const over = new AbortController();
  const reading = new LogReading(ports, query, AbortSignal.any([signal, over.signal]));
  const look = (): void => {
    for (const { value: task } of ports.snapshot().tasks.values()) {
      if (task.nodeId !== undefined && targets.some((target) => matches(target, task))) reading.add(task, task.nodeId);
    }
  };
  look();
  const off = query.follow ? ports.onChange(look) : () => undefined;
  const onAbort = (): void => {
    reading.merge.wake();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    while (!signal.aborted) {
      const reply = reading.take();
      if (reply !== undefined) yield reply;
      else if (reading.active === 0 && !query.follow) return;
      else await reading.merge.changed();
    }
  } finally {
    off();
    signal.removeEventListener('abort', onAbort);
    over.abort();
    reading.merge.close();
  }
}

class LogReading {
  readonly merge: Merge;
  /** Readers that may still bring something. */
  active = 0;
  readonly #ports: LogPorts;
  readonly #query: LogsQuery;
  readonly #signal: AbortSignal;
  /** By task, of a call that goes on where an earlier one broke off. */
  readonly #resumed: ReadonlyMap<string, ResumedTask>;
  readonly #known = new Set<string>();
  readonly #told = new Set<string>();
  #sources: LogSource[] = [];
  #notices: string[] = [];

  constructor(ports: LogPorts, query: LogsQuery, signal: AbortSignal) {
    this.#ports = ports;
    this.#query = query;
    this.#resumed = new Map(query.resume?.map((task) => [task.taskId, task]));
    this.#signal = signal;
    this.merge = new Merge(query.follow, ports.nowMs);
  }

  add(task: Task, nodeId: string): void {
    if (this.#known.has(task.id)) return;
    if (this.#known.size >= maxSources) {
      this.#notice('many', `more than ${String(maxSources)} tasks: the others are left out; name fewer`);
      return;
    }
    const index = this.#known.size;
    this.#known.add(task.id);
    const { id: taskId, stack, service, slot } = task;
    const node = this.#ports.snapshot().nodes.get(nodeId)?.value.name ?? nodeId;
    this.#sources.push({ index, taskId, stack, service, slot, node });
    this.merge.wake();
    this.merge.add(index);
    this.active += 1;
    void this.#read(task, nodeId, node, index)
      .catch((error: unknown) => {
        this.#notice(taskId, `${taskId}: ${describeError(error)}`);
      })
      .finally(() => {
        this.active -= 1;
        this.merge.end(index);
      });
  }

  /** Undefined: nothing to tell now. */
  take(): LogsReply | undefined {
    const lines = this.merge.take();
    if (lines.length === 0 && this.#notices.length === 0 && this.#sources.length === 0) return undefined;
    const reply = { sources: this.#sources, lines, notices: this.#notices };
    this.#sources = [];
    this.#notices = [];
    return reply;
  }

  /** To the task's end. A broken stream is opened again right behind the last line that was passed on. */
  async #read(task: Task, nodeId: string, node: string, index: number): Promise<void> {
    let place = this.#resumed.get(task.id)?.after;
    for (let tries = 1; !this.#signal.aborted; tries += 1) {
      // Looked at before: one that ended meanwhile is read once more, to its very end.
      const ended = this.#hasEnded(task.id);
      try {
        for await (const lines of this.#open(task.id, nodeId, place)) {
          tries = 0;
          this.#told.delete(node);
          place = behind(lines) ?? place;
          await this.merge.push(index, lines);
        }
        if (!this.#query.follow || ended || this.#hasEnded(task.id)) return;
      } catch (thrown) {
        const error = FrotaError.from(thrown);
        if (this.#isOver()) return;
        if (error.code === 'not-found') {
          // It has not been started yet, or nothing is kept of it.
          if (ended || !this.#query.follow) return;
        } else if (error.code === 'unavailable') {
          if (tries > 2) this.#notice(node, `node ${node} can't be read: ${describeError(error)}`);
          if (tries >= maxTries && (ended || !this.#query.follow)) return;
        } else throw error;
      }
      await pause(retryMs, this.#signal);
    }
  }

  async *#open(taskId: string, nodeId: string, after: LogPlace | undefined): AsyncGenerator<readonly LogLine[]> {
    const { until, follow } = this.#query;
    const query: LogQuery = {
      follow,
      ...(until === undefined ? {} : { until }),
      ...(after === undefined ? this.#beginning(taskId) : { after }),
    };
    const request = { kind: 'logs', taskId, query } as const;
    for await (const message of this.#ports.broker.open(nodeId, request, nothing(), this.#signal)) {
      if (message.kind === 'logs') yield message.lines;
    }
  }

  /** Where the reading of a task begins of which nothing has been told. */
  #beginning(taskId: string): Pick<LogQuery, 'since' | 'tail'> {
    const { tail } = this.#query;
    const since = this.#resumed.get(taskId)?.since ?? this.#query.since;
    // What came while nobody was listening is new, however many lines it is.
    const isFirst = this.#resumed.size === 0;
    return { ...(since === undefined ? {} : { since }), ...(tail === undefined || !isFirst ? {} : { tail }) };
  }

  /** Read through a method: it changes during an `await`, which control flow analysis does not see. */
  #isOver(): boolean {
    return this.#signal.aborted;
  }

  #hasEnded(taskId: string): boolean {
    const snapshot = this.#ports.snapshot();
    const task = snapshot.tasks.get(taskId)?.value;
    return task === undefined || hasEnded(snapshot, task);
  }

  /** Once for each subject, until it is well again. */
  #notice(subject: string, message: string): void {
    if (this.#told.has(subject)) return;
    this.#told.add(subject);
    this.#notices.push(message);
    this.merge.wake();
  }
}

async function* nothing(): AsyncGenerator<ExecInput> {
  yield* [];
}
