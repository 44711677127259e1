/** Logs over the broker: a reader a task, merged by time, opened again behind the last line where a node goes away, in vain told. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Broker } from '../../../controller/streams/broker.ts';
import { readLogs } from '../../../controller/streams/logs.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { LogsQuery, LogsReply, StreamRequest, StreamUp } from '../../../proto/codec/streams.ts';
import type { LogLine, LogQuery } from '../../../proto/domain/logs.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import { aNode, aServiceSpec, aSnapshot, aStack, aStatus, aTask } from '../../builders/domain.ts';
import { Channel } from './channel.ts';

const at = (second: number, text = `line of ${String(second)}`, ordinal = 1): LogLine => ({
  time: `2026-11-24T12:00:${String(second).padStart(2, '0')}.000000000Z`,
  stream: 'stdout',
  text: Buffer.from(text),
  ordinal,
});
const logs = (...lines: readonly LogLine[]): StreamUp => ({ kind: 'logs', lines });

const nodes = [aNode('n1'), aNode('n2')];
const stacks = [aStack('shop', [aServiceSpec({ replicas: 2 })])];
const first = aTask({ id: 'first', slot: 1, nodeId: 'id-n1' });
const second = aTask({ id: 'second', slot: 2, nodeId: 'id-n2' });
const running = aSnapshot({ stacks, nodes, tasks: [first, second], statuses: [aStatus('first', 'running'), aStatus('second', 'running')] }); // prettier-ignore

interface Opened {
  readonly nodeId: string;
  readonly taskId: string;
  readonly query: LogQuery;
  readonly up: Channel<StreamUp>;
}

/** A broker whose streams are answered by the test, and a reader in the background. */
function reading(query: Partial<LogsQuery>, snapshot: Snapshot = running) {
  const opened: Opened[] = [];
  const abort = new AbortController();
  let now = snapshot;
  let change: () => void = () => undefined;
  let left = 0;
  const broker: Pick<Broker, 'open'> = {
    open: async function* (nodeId: string, request: StreamRequest, _input, signal) {
      if (request.kind !== 'logs') throw new Error('not asked for');
      const up = new Channel<StreamUp>();
      opened.push({ nodeId, taskId: request.taskId, query: request.query, up });
      AbortSignal.any([signal]).addEventListener('abort', () => { up.end(); }); // prettier-ignore
      try {
        yield* up;
      } finally {
        left += 1;
      }
    },
  };
  const ports = {
    snapshot: () => now,
    onChange: (listener: () => void) => {
      change = listener;
      return () => {
        change = () => undefined;
      };
    },
    broker: { ...broker, join: () => { throw new Error('not here'); } }, // prettier-ignore
    nowMs: () => performance.now(),
  };
  const replies: LogsReply[] = [];
  const done = (async () => {
    const all = { targets: ['shop'], follow: false, ...query };
    for await (const reply of readLogs(ports, all, abort.signal)) replies.push(reply);
  })();
  done.catch(() => undefined);
  const lines = () => replies.flatMap((reply) => reply.lines.map(({ source, line }) => `${String(source)} ${Buffer.from(line.text).toString()}`)); // prettier-ignore
  const notices = () => replies.flatMap((reply) => reply.notices);
  const streamOf = (taskId: string): Channel<StreamUp> => {
    const found = opened.findLast((each) => each.taskId === taskId);
    if (found === undefined) throw new Error(`nobody reads ${taskId}`);
    return found.up;
  };
  const show = (next: Snapshot): void => {
    now = next;
    change();
  };
  return { opened, abort, replies, done, lines, notices, streamOf, show, isLeft: () => left };
}

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);
const retryMs = 500;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('logs of several tasks', () => {
  it('are asked of their nodes with what was asked for, and told by time, each task before its first line', async () => {
    const reader = reading({ since: at(1).time, tail: 10 });
    await settle();
    const query = { follow: false, since: at(1).time, tail: 10 };
    expect(reader.opened.map(({ up: _, ...asked }) => asked)).toEqual([
      { nodeId: 'id-n1', taskId: 'first', query },
      { nodeId: 'id-n2', taskId: 'second', query },
    ]);
    reader.streamOf('first').put(logs(at(1), at(4)));
    reader.streamOf('second').put(logs(at(2), at(3)));
    reader.streamOf('first').end();
    reader.streamOf('second').end();
    await settle();
    await reader.done;
    expect(reader.lines()).toEqual(['0 line of 1', '1 line of 2', '1 line of 3', '0 line of 4']);
    expect(reader.replies[0]?.sources).toEqual([
      { index: 0, taskId: 'first', stack: 'shop', service: 'web', slot: 1, node: 'n1' },
      { index: 1, taskId: 'second', stack: 'shop', service: 'web', slot: 2, node: 'n2' },
    ]);
    expect(reader.replies.slice(1).flatMap(({ sources }) => sources)).toEqual([]);
  });

  it('that are followed go on with the task that comes after, and end for every node when the caller leaves', async () => {
    const reader = reading({ follow: true, targets: ['web.1'] });
    await settle();
    reader.streamOf('first').put(logs(at(1)));
    await settle();
    expect(reader.lines()).toEqual(['0 line of 1']);
    const third = aTask({ id: 'third', slot: 1, attempt: 1, nodeId: 'id-n2' });
    reader.show(aSnapshot({ stacks, nodes, tasks: [{ ...first, desired: 'shutdown' }, third], statuses: [aStatus('first', 'failed')] })); // prettier-ignore
    reader.streamOf('first').end();
    await settle();
    reader.streamOf('third').put(logs(at(2)));
    await settle();
    expect(reader.lines()).toEqual(['0 line of 1', '1 line of 2']);
    reader.abort.abort();
    await settle();
    await reader.done;
    expect(reader.isLeft()).toBe(2);
  });
});

describe('a node that goes away in the middle', () => {
  it('is asked again behind the last line that was passed on: nothing twice, nothing lost', async () => {
    const reader = reading({ targets: ['first'], tail: 5 });
    await settle();
    reader.streamOf('first').put(logs(at(1), at(2, 'a'), at(2, 'b', 2)));
    reader.streamOf('first').fail(new FrotaError('unavailable', 'the stream from node n1 broke'));
    await settle(retryMs);
    expect(reader.opened.map(({ query }) => query)).toEqual([
      { follow: false, tail: 5 },
      { follow: false, after: { time: at(2).time, count: 2 } },
    ]);
    reader.streamOf('first').put(logs(at(2, 'c', 3)));
    reader.streamOf('first').end();
    await settle();
    await reader.done;
    expect(reader.lines()).toEqual(['0 line of 1', '0 a', '0 b', '0 c']);
    expect(reader.notices()).toEqual([]);
  });

  it('for good is told once, given up, and holds back no other task’s lines', async () => {
    const reader = reading({});
    await settle();
    reader.streamOf('second').put(logs(at(3)));
    reader.streamOf('second').end();
    for (let tries = 1; tries <= 6; tries += 1) {
      reader.streamOf('first').fail(new FrotaError('unavailable', 'node n1 is not connected'));
      await settle(retryMs);
    }
    await reader.done;
    expect(reader.opened.filter(({ taskId }) => taskId === 'first')).toHaveLength(6);
    expect(reader.notices()).toEqual(["node n1 can't be read: node n1 is not connected"]);
    expect(reader.lines()).toEqual(['1 line of 3']);
  });

  it('is tried on while it is followed, and read when it is back', async () => {
    const reader = reading({ follow: true, targets: ['first'] });
    await settle();
    for (let tries = 1; tries <= 20; tries += 1) {
      reader.streamOf('first').fail(new FrotaError('unavailable', 'node n1 is not connected'));
      await settle(retryMs);
    }
    reader.streamOf('first').put(logs(at(9)));
    await settle(200);
    expect(reader.lines()).toEqual(['0 line of 9']);
    expect(reader.notices()).toHaveLength(1);
    reader.abort.abort();
    await settle();
    await reader.done;
  });
});

describe('what can’t be read', () => {
  it('of one task is a notice; a task that was never started has none', async () => {
    const reader = reading({});
    await settle();
    reader.streamOf('first').put({ kind: 'logs', lines: [at(1)] });
    reader.streamOf('first').fail(new FrotaError('exhausted', 'node n1 has 128 streams open'));
    reader.streamOf('second').fail(new FrotaError('not-found', 'there is no task second'));
    await settle();
    await reader.done;
    expect([reader.lines(), reader.notices()]).toEqual([['0 line of 1'], ['first: node n1 has 128 streams open']]);
  });

  it('at all is an error', async () => {
    await expect(reading({ targets: [] }).done).rejects.toMatchObject({ code: 'invalid' });
    await expect(reading({ targets: ['nowhere'] }).done).rejects.toMatchObject({ code: 'not-found' });
    const names = Array.from({ length: 65 }, () => 'shop');
    await expect(reading({ targets: names }).done).rejects.toMatchObject({ code: 'invalid' });
  });

  it('of more tasks than its bound is left out, and that is said', async () => {
    const tasks = Array.from({ length: 258 }, (_, slot) => aTask({ id: `t${String(slot)}`, slot: slot + 1, nodeId: 'id-n1' })); // prettier-ignore
    const reader = reading({}, aSnapshot({ stacks, nodes, tasks }));
    await settle();
    expect(reader.opened).toHaveLength(256);
    for (const { up } of reader.opened) up.end();
    await settle();
    await reader.done;
    expect(reader.notices()).toEqual(['more than 256 tasks: the others are left out; name fewer']);
  });
});
