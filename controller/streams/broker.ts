/**
 * Joins who asks for a stream with the agent that answers it. Agents only dial out: the request goes down the node's
 * session, and the agent calls back with its id on a stream of its own.
 */
import { FrotaError } from '../../proto/base/errors.ts';
import type { ControllerMessage } from '../../proto/codec/dispatch.ts';
import type { StreamDown, StreamRequest, StreamUp } from '../../proto/codec/streams.ts';
import type { ExecInput } from '../../proto/domain/exec.ts';

export interface BrokerPorts {
  /** Puts a message on the node's session; false where there is none. */
  readonly send: (nodeId: string, message: ControllerMessage) => boolean;
  readonly nodeName: (nodeId: string) => string;
  readonly newId: () => string;
}

export interface Broker {
  /** What the agent answers, until it has said all. Leaving the iteration ends the agent's work. Throws its FrotaError. */
  open(
    nodeId: string,
    request: StreamRequest,
    input: AsyncIterable<ExecInput>,
    signal: AbortSignal,
  ): AsyncIterable<StreamUp>;
  /** An agent's side of it. `nodeId` is from its certificate. */
  join(nodeId: string, incoming: AsyncIterable<StreamUp>, signal: AbortSignal): AsyncIterable<StreamDown>;
}

/** An agent answers in milliseconds; one that is busy starting up takes longer. */
const joinWithinMs = 10_000;
/** Tasks of a node whose logs are read at once, and commands run; each holds some 100 KiB in both processes. */
const maxStreamsPerNode = 128;

interface Waiting {
  readonly nodeId: string;
  readonly input: AsyncIterable<ExecInput>;
  /** The caller has left, or all was said. */
  readonly ended: AbortController;
  readonly joined: (messages: AsyncIterator<StreamUp>) => void;
  taken: boolean;
}

export function createBroker(ports: BrokerPorts): Broker {
  const streams = new Map<string, Waiting>();

  async function* open(
    nodeId: string,
    request: StreamRequest,
    input: AsyncIterable<ExecInput>,
    signal: AbortSignal,
  ): AsyncIterable<StreamUp> {
    const node = ports.nodeName(nodeId);
    const ofNode = [...streams.values()].filter((each) => each.nodeId === nodeId);
    if (ofNode.length >= maxStreamsPerNode) {
      throw new FrotaError('exhausted', `node ${node} has ${String(maxStreamsPerNode)} streams open; end some of them`);
    }
    const streamId = ports.newId();
    const ended = new AbortController();
    // Not left to the end of this iteration: it may wait for a command that says nothing, and nobody asks it for more.
    const leave = (): void => {
      ended.abort();
    };
    signal.addEventListener('abort', leave, { once: true });
    try {
      const incoming = new Promise<AsyncIterator<StreamUp>>((resolve) => {
        streams.set(streamId, { nodeId, input, ended, joined: resolve, taken: false });
      });
      if (!ports.send(nodeId, { kind: 'open', streamId, request })) {
        throw new FrotaError('unavailable', `node ${node} is not connected`);
      }
      const messages = await within(incoming, signal, `node ${node} does not answer`);
      yield* answers(messages, node, signal);
    } finally {
      signal.removeEventListener('abort', leave);
      streams.delete(streamId);
      ended.abort();
    }
  }

  async function* join(
    nodeId: string,
    incoming: AsyncIterable<StreamUp>,
    signal: AbortSignal,
  ): AsyncIterable<StreamDown> {
    const messages = incoming[Symbol.asyncIterator]();
    const first = await messages.next();
    const waiting = first.done !== true && first.value.kind === 'begin' ? streams.get(first.value.streamId) : undefined;
    // One answer for what never was, what is over and what is another node's: a stranger learns nothing.
    if (waiting === undefined || waiting.nodeId !== nodeId || waiting.taken) {
      throw new FrotaError('not-found', 'nobody waits for this stream');
    }
    waiting.taken = true;
    waiting.joined(messages);
    const over = AbortSignal.any([waiting.ended.signal, signal]);
    const input = waiting.input[Symbol.asyncIterator]();
    while (!over.aborted) {
      const next = await untilAborted(input.next(), over);
      if (next === undefined) return;
      if (next.done === true) break;
      yield { input: next.value };
    }
    await untilAborted(new Promise<never>(() => undefined), over);
  }

  return { open, join };
}

async function* answers(
  messages: AsyncIterator<StreamUp>,
  node: string,
  signal: AbortSignal,
): AsyncGenerator<StreamUp> {
  for (;;) {
    const next = await untilAborted(messages.next(), signal).catch((cause: unknown) => {
      throw new FrotaError('unavailable', `the stream from node ${node} broke`, { cause });
    });
    if (next === undefined) throw new FrotaError('cancelled', 'the caller is gone');
    if (next.done === true) return;
    if (next.value.kind === 'failure') throw new FrotaError(next.value.code, next.value.message);
    yield next.value;
  }
}

async function within<T>(work: Promise<T>, signal: AbortSignal, message: string): Promise<T> {
  const time = AbortSignal.timeout(joinWithinMs);
  const done = await untilAborted(
    work.then((value) => ({ value })),
    AbortSignal.any([signal, time]),
  );
  if (done !== undefined) return done.value;
  if (signal.aborted) throw new FrotaError('cancelled', 'the caller is gone');
  throw new FrotaError('unavailable', `${message} within ${String(joinWithinMs)} ms`);
}

/** Undefined when the signal aborts first. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      resolve(undefined);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', onAbort);
    });
  });
}
