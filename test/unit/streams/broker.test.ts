/** The broker: whoever asks is joined with the node that was asked, once, and what breaks or leaves ends both sides. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createBroker } from '../../../controller/streams/broker.ts';
import type { Broker } from '../../../controller/streams/broker.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import type { ControllerMessage } from '../../../proto/codec/dispatch.ts';
import type { StreamDown, StreamRequest, StreamUp } from '../../../proto/codec/streams.ts';
import type { ExecInput } from '../../../proto/domain/exec.ts';
import { Channel } from './channel.ts';

const request: StreamRequest = { kind: 'logs', taskId: 't1', query: { follow: true } };
const chunk = (text: string): StreamUp => ({ kind: 'output', output: { kind: 'stdout', chunk: Buffer.from(text) } });
const resize: ExecInput = { kind: 'resize', columns: 80, rows: 24 };

/** A broker with one node that is connected, `n1`. */
function world() {
  const sent: { readonly nodeId: string; readonly message: ControllerMessage }[] = [];
  let ids = 0;
  const broker = createBroker({
    send: (nodeId, message) => {
      if (nodeId !== 'n1') return false;
      sent.push({ nodeId, message });
      return true;
    },
    nodeName: (nodeId) => `name-of-${nodeId}`,
    newId: () => `stream-${String((ids += 1))}`,
  });
  return { broker, sent };
}

/** A caller that reads in the background. */
function ask(broker: Broker, nodeId = 'n1', input: AsyncIterable<ExecInput> = new Channel<ExecInput>()) {
  const abort = new AbortController();
  const heard: StreamUp[] = [];
  const stream = broker.open(nodeId, request, input, abort.signal)[Symbol.asyncIterator]();
  const done = (async () => {
    for (let next = await stream.next(); next.done !== true; next = await stream.next()) heard.push(next.value);
  })();
  done.catch(() => undefined);
  return { heard, done, abort, leave: async () => stream.return?.() };
}

/** An agent that calls back with `id`. */
function answer(broker: Broker, id: string, nodeId = 'n1') {
  const up = new Channel<StreamUp>();
  const abort = new AbortController();
  const heard: StreamDown[] = [];
  up.put({ kind: 'begin', streamId: id });
  const done = (async () => {
    for await (const message of broker.join(nodeId, up, abort.signal)) heard.push(message);
  })();
  done.catch(() => undefined);
  return { up, heard, done, abort };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A stream of a caller and an agent; the caller has nothing more to say. */
async function withEndedInput() {
  const { broker } = world();
  const input = new Channel<ExecInput>();
  const caller = ask(broker, 'n1', input);
  await turn();
  const agent = answer(broker, 'stream-1');
  input.end();
  await turn();
  return { broker, caller, agent };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('a stream', () => {
  it('passes both directions on, in order, to the end of what the node says', async () => {
    const { broker, sent } = world();
    const input = new Channel<ExecInput>();
    const caller = ask(broker, 'n1', input);
    await turn();
    expect(sent).toEqual([{ nodeId: 'n1', message: { kind: 'open', streamId: 'stream-1', request } }]);
    const agent = answer(broker, 'stream-1');
    input.put(resize);
    input.put({ kind: 'end' });
    for (const text of ['a', 'b', 'c']) agent.up.put(chunk(text));
    await turn();
    expect(agent.heard).toEqual([{ input: resize }, { input: { kind: 'end' } }]);
    agent.up.end();
    await caller.done;
    expect(caller.heard).toEqual([chunk('a'), chunk('b'), chunk('c')]);
    await agent.done;
  });

  it('ends for the node when the caller’s call is over, though the node says nothing and the input had ended', async () => {
    const { broker, caller, agent } = await withEndedInput();
    caller.abort.abort();
    await agent.done;
    await expect(caller.done).rejects.toMatchObject({ code: 'cancelled' });
    // Its place is free again: the id is nobody's.
    await expect(answer(broker, 'stream-1').done).rejects.toMatchObject({ code: 'not-found' });
  });

  it('is open for the node while the caller’s input has ended', async () => {
    const { caller, agent } = await withEndedInput();
    agent.up.put(chunk('late'));
    agent.up.end();
    await caller.done;
    expect(caller.heard).toEqual([chunk('late')]);
    await agent.done;
  });

  it('ends for the node when the caller leaves, or its call is cut', async () => {
    const { broker } = world();
    const leaving = ask(broker);
    await turn();
    const agent = answer(broker, 'stream-1');
    agent.up.put(chunk('a'));
    await turn();
    await Promise.all([leaving.leave(), Promise.resolve().then(() => { agent.up.put(chunk('b')); })]); // prettier-ignore
    await agent.done;

    const cut = ask(broker);
    await turn();
    cut.abort.abort();
    await expect(cut.done).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('tells the caller what the node says is wrong', async () => {
    const { broker } = world();
    const caller = ask(broker);
    await turn();
    const agent = answer(broker, 'stream-1');
    agent.up.put({ kind: 'failure', code: 'not-found', message: 'no such task' });
    await expect(caller.done).rejects.toMatchObject({ code: 'not-found', message: 'no such task' });
    await agent.done;
  });
});

describe('a node', () => {
  it('that is not connected is named', async () => {
    const caller = ask(world().broker, 'n2');
    await expect(caller.done).rejects.toMatchObject({ code: 'unavailable', message: 'node name-of-n2 is not connected' }); // prettier-ignore
  });

  it('that does not call back is given up after ten seconds, and is then a stranger', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => {
      const controller = new AbortController();
      setTimeout(() => { controller.abort(); }, ms); // prettier-ignore
      return controller.signal;
    });
    try {
      const { broker } = world();
      const caller = ask(broker);
      await vi.advanceTimersByTimeAsync(9_999);
      expect(await Promise.race([caller.done, Promise.resolve('waits')])).toBe('waits');
      await vi.advanceTimersByTimeAsync(1);
      await expect(caller.done).rejects.toMatchObject({
        code: 'unavailable',
        message: 'node name-of-n1 does not answer within 10000 ms',
      });
      await expect(answer(broker, 'stream-1').done).rejects.toMatchObject({ code: 'not-found' });
    } finally {
      timeout.mockRestore();
    }
  });

  it('that goes away in the middle is an error, after all that came before', async () => {
    const { broker } = world();
    const caller = ask(broker);
    await turn();
    const agent = answer(broker, 'stream-1');
    agent.up.put(chunk('a'));
    agent.up.fail(new Error('connection reset'));
    await expect(caller.done).rejects.toMatchObject({
      code: 'unavailable',
      message: 'the stream from node name-of-n1 broke',
    });
    expect(caller.heard).toEqual([chunk('a')]);
    await agent.done;
  });

  it.each([
    ['an id that never was', 'stream-9', 'n1'],
    ['what another node was asked', 'stream-1', 'n2'],
  ])('that answers %s is refused in the same words', async (_, id, nodeId) => {
    const { broker } = world();
    const caller = ask(broker);
    await turn();
    await expect(answer(broker, id, nodeId).done).rejects.toThrow(new FrotaError('not-found', 'nobody waits for this stream')); // prettier-ignore
    caller.abort.abort();
    await expect(caller.done).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('answers a stream once, and only with its beginning first', async () => {
    const { broker } = world();
    const caller = ask(broker);
    await turn();
    const first = answer(broker, 'stream-1');
    await turn();
    await expect(answer(broker, 'stream-1').done).rejects.toMatchObject({ code: 'not-found' });
    const blunt = new Channel<StreamUp>();
    blunt.put(chunk('hello'));
    const joined = broker.join('n1', blunt, new AbortController().signal)[Symbol.asyncIterator]();
    await expect(joined.next()).rejects.toMatchObject({ code: 'not-found' });
    first.up.end();
    await caller.done;
  });

  it('has no more streams than its bound, and takes more when some have ended', async () => {
    const { broker, sent } = world();
    const callers = Array.from({ length: 128 }, () => ask(broker));
    await turn();
    expect(sent).toHaveLength(128);
    await expect(ask(broker).done).rejects.toMatchObject({ code: 'exhausted' });
    callers[0]?.abort.abort();
    await turn();
    ask(broker);
    await turn();
    expect(sent).toHaveLength(129);
  });
});
