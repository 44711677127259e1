/** The agent's end of streams: output in order and never faster than it is taken, input to the command, and nothing left running. */
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import type { Exec } from '../../../agent/runtime/runtime.ts';
import { NodeStreams } from '../../../agent/streams/node-streams.ts';
import type { UpStream } from '../../../agent/streams/node-streams.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import type { StreamDown, StreamRequest, StreamUp } from '../../../proto/codec/streams.ts';
import type { LogLine } from '../../../proto/domain/logs.ts';
import { Channel } from './channel.ts';

const logs: StreamRequest = { kind: 'logs', taskId: 't1', query: { follow: true } };
const exec: StreamRequest = {
  kind: 'exec',
  start: { target: 't1', args: ['sh'], environment: ['A=b'], user: 'ana', tty: true, size: { columns: 80, rows: 24 } },
};
const line = (text: string): LogLine => ({ time: '2026-11-24T12:00:00.000000000Z', stream: 'stdout', text: Buffer.from(text), ordinal: 1 }); // prettier-ignore

/** The controller's end: it takes a message when it is asked to, as a slow reader does. */
class FakeStream implements UpStream {
  readonly heard: StreamUp[] = [];
  readonly down = new Channel<StreamDown>();
  ended = false;
  closed = false;
  /** Writes wait for `take` when false. */
  quick = true;
  #taken: () => void = () => undefined;

  async write(message: StreamUp): Promise<void> {
    if (this.closed) throw new FrotaError('unavailable', 'it is closed');
    this.heard.push(message);
    if (this.quick) return;
    await new Promise<void>((resolve) => {
      this.#taken = resolve;
    });
  }
  take(): void {
    this.#taken();
  }
  end(): void {
    this.ended = true;
  }
  close(): void {
    this.closed = true;
    this.down.end();
    this.#taken();
  }
  [Symbol.asyncIterator](): AsyncIterator<StreamDown> {
    return this.down[Symbol.asyncIterator]();
  }
}

class FakeExec implements Exec {
  readonly stdin = new PassThrough({ highWaterMark: 4 });
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly sizes: (readonly [number, number])[] = [];
  kills = 0;
  exit: (exitCode: number) => void = () => undefined;
  readonly done = new Promise<{ readonly exitCode: number }>((resolve) => {
    this.exit = (exitCode) => {
      this.stdout.end();
      this.stderr.end();
      resolve({ exitCode });
    };
  });
  resize(columns: number, rows: number): void {
    this.sizes.push([columns, rows]);
  }
  kill(): Promise<void> {
    this.kills += 1;
    this.exit(137);
    return Promise.resolve();
  }
}

interface Parts {
  readonly lines?: (signal: AbortSignal) => AsyncIterable<readonly LogLine[]>;
  readonly command?: (signal: AbortSignal) => Promise<Exec>;
}

let open: NodeStreams[] = [];
afterEach(async () => {
  await Promise.all(open.map((each) => each.close()));
  open = [];
});

function node({ lines, command }: Parts) {
  const streams: FakeStream[] = [];
  const requests: unknown[] = [];
  const made = new NodeStreams({
    runtime: {
      logs: (_id, _query, signal) => {
        if (lines !== undefined) return lines(signal);
        const silent = new Channel<readonly LogLine[]>();
        signal.addEventListener('abort', () => { silent.end(); }); // prettier-ignore
        return silent;
      },
      exec: (id, request, signal) => {
        requests.push({ id, request });
        return command?.(signal) ?? Promise.reject(new FrotaError('not-found', 'no such task'));
      },
    },
    open: (signal) => {
      const stream = new FakeStream();
      signal.addEventListener('abort', () => { stream.close(); }); // prettier-ignore
      streams.push(stream);
      return stream;
    },
    drills: { take: () => Promise.reject(new FrotaError('unsupported', 'no drills here')) },
    logger: silentLogger,
  });
  open.push(made);
  const answer = (request: StreamRequest): FakeStream => {
    made.answer({ kind: 'open', streamId: `s${String(streams.length + 1)}`, request });
    const stream = streams.at(-1);
    if (stream === undefined) throw new Error('nothing was opened');
    return stream;
  };
  return { made, streams, requests, answer };
}
const begin: StreamUp = { kind: 'begin', streamId: 's1' };
const out = (kind: 'stdout' | 'stderr', text: string): StreamUp => ({ kind: 'output', output: { kind, chunk: Buffer.from(text) } }); // prettier-ignore
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

describe('logs', () => {
  it('begin with the id, come in order, and end with an end', async () => {
    const written = new Channel<readonly LogLine[]>();
    const { answer } = node({ lines: () => written });
    const stream = answer(logs);
    written.put([line('a'), line('b')]);
    written.put([line('c')]);
    written.end();
    await expect.poll(() => stream.ended, { interval: 2 }).toBe(true);
    expect(stream.heard).toEqual([
      begin,
      { kind: 'logs', lines: [line('a'), line('b')] },
      { kind: 'logs', lines: [line('c')] },
    ]);
  });

  it('are not read faster than the controller takes them', async () => {
    const written = new Channel<readonly LogLine[]>();
    const { answer } = node({ lines: () => written });
    const stream = answer(logs);
    await turns();
    stream.quick = false;
    for (let batch = 0; batch < 50; batch += 1) written.put([line(String(batch))]);
    await turns();
    // One is on its way, the others wait where they are written.
    expect([stream.heard.length, written.waiting]).toEqual([2, 49]);
    stream.take();
    await turns();
    expect([stream.heard.length, written.waiting]).toEqual([3, 48]);
  });

  it('end for the runtime when the controller goes away in the middle', async () => {
    let aborted = false;
    const { answer } = node({
      lines: async function* (signal) {
        yield [line('a')];
        await new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => { aborted = true; resolve(); }); // prettier-ignore
        });
      },
    });
    const stream = answer(logs);
    await turns();
    expect(aborted).toBe(false);
    stream.down.fail(new Error('connection reset'));
    await expect.poll(() => [aborted, stream.closed], { interval: 2 }).toEqual([true, true]);
    expect(stream.heard).toEqual([begin, { kind: 'logs', lines: [line('a')] }]);
  });

  it('that can’t be read are told with code and words', async () => {
    const { answer } = node({
      lines: async function* () {
        yield await Promise.reject<readonly LogLine[]>(new FrotaError('not-found', 'nothing is kept of t1'));
      },
    });
    const stream = answer(logs);
    await expect.poll(() => stream.heard.at(-1), { interval: 2 }).toEqual({ kind: 'failure', code: 'not-found', message: 'nothing is kept of t1' }); // prettier-ignore
    expect(stream.ended).toBe(true);
  });
});

describe('a command', () => {
  it('gets its input, also what came before it ran, and tells its output and then how it ended', async () => {
    const running = new FakeExec();
    let ready: (exec: Exec) => void = () => undefined;
    const { answer, requests } = node({ command: () => new Promise((resolve) => (ready = resolve)) });
    const stream = answer(exec);
    stream.down.put({ input: { kind: 'chunk', chunk: Buffer.from('early') } });
    stream.down.put({ input: { kind: 'resize', columns: 100, rows: 30 } });
    await turns();
    ready(running);
    await turns();
    // Nobody reads the command's input yet, and it is full: what comes behind it waits.
    expect(running.sizes).toEqual([]);
    expect(String(running.stdin.read())).toBe('early');
    await expect.poll(() => running.sizes, { interval: 2 }).toEqual([[100, 30]]);
    stream.down.put({ input: { kind: 'end' } });
    await expect.poll(() => running.stdin.writableEnded, { interval: 2 }).toBe(true);
    running.stdout.write('one');
    running.stderr.write('two');
    await turns();
    running.exit(7);
    await expect.poll(() => stream.ended, { interval: 2 }).toBe(true);
    expect(stream.heard).toEqual([
      begin,
      out('stdout', 'one'),
      out('stderr', 'two'),
      { kind: 'output', output: { kind: 'exit', exitCode: 7 } },
    ]);
    const { args, environment, user, tty, size } = exec.start;
    expect(requests).toEqual([{ id: 't1', request: { args, environment, user, tty, size } }]);
  });

  it('that writes much is cut into messages of a bounded size', async () => {
    const running = new FakeExec();
    const { answer } = node({ command: () => Promise.resolve(running) });
    const stream = answer(exec);
    const bytes = Buffer.alloc(150_000, 'x');
    running.stdout.write(bytes);
    running.exit(0);
    await expect.poll(() => stream.ended, { interval: 2 }).toBe(true);
    const chunks = stream.heard.flatMap((each) => each.kind === 'output' && each.output.kind === 'stdout' ? [each.output.chunk] : []); // prettier-ignore
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    expect(Math.max(...chunks.map(({ length }) => length))).toBeLessThanOrEqual(64 * 1024);
  });

  it('is killed when the controller goes away in the middle, and when the agent stops', async () => {
    const [left, stopped] = [new FakeExec(), new FakeExec()];
    const commands = [left, stopped];
    const { made, answer } = node({
      command: (signal) => {
        const started = commands.shift() ?? left;
        // As the runtime does.
        signal.addEventListener('abort', () => void started.kill());
        return Promise.resolve(started);
      },
    });
    const first = answer(exec);
    await turns();
    first.down.end();
    await expect.poll(() => [left.kills > 0, first.closed], { interval: 2 }).toEqual([true, true]);
    const second = answer(exec);
    await turns();
    await made.close();
    expect([stopped.kills > 0, second.closed]).toEqual([true, true]);
    made.answer({ kind: 'open', streamId: 'late', request: exec });
    expect(commands).toEqual([]);
  });

  it('that can’t be started is told, and what was typed ahead holds nothing back', async () => {
    const { made, answer } = node({});
    const stream = answer(exec);
    stream.down.put({ input: { kind: 'end' } });
    stream.down.put({ input: { kind: 'resize', columns: 1, rows: 1 } });
    await expect.poll(() => stream.ended, { interval: 2 }).toBe(true);
    expect(stream.heard).toEqual([begin, { kind: 'failure', code: 'not-found', message: 'no such task' }]);
    stream.down.end();
    await expect.poll(() => stream.closed, { interval: 2 }).toBe(true);
    await made.close();
  });

  it('beyond the bound is refused, and the others go on', async () => {
    const { answer, streams } = node({});
    for (let at = 0; at < 129; at += 1) answer(logs);
    await turns();
    const refused = streams.filter(({ heard }) => heard.some(({ kind }) => kind === 'failure'));
    expect(refused.map(({ heard }) => heard.at(-1))).toEqual([expect.objectContaining({ code: 'exhausted' })]);
  });
});
