/** Answers what controllers ask of this node's containers: each request on a stream of its own, until either end leaves. */
import type { Readable } from 'node:stream';
import { once } from 'node:events';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { pause } from '../../proto/base/pause.ts';
import type { OpenStream, StreamDown, StreamRequest, StreamUp } from '../../proto/codec/streams.ts';
import type { ExecStart } from '../../proto/domain/exec.ts';
import type { Drills } from '../drills/ports.ts';
import type { Exec, Runtime } from '../runtime/runtime.ts';

/** The agent's end of one stream. */
export interface UpStream extends AsyncIterable<StreamDown> {
  /** Resolves when there is room for more. */
  write(message: StreamUp): Promise<void>;
  end(): void;
  close(): void;
}

export interface StreamPorts {
  readonly runtime: Pick<Runtime, 'exec' | 'logs'>;
  readonly drills: Drills;
  /** @throws FrotaError `unavailable` without a controller. */
  readonly open: (signal: AbortSignal) => UpStream;
  readonly logger: Logger;
}

/** As many as a controller asks for at the most. */
const maxStreams = 128;
/** All is said; the controller has to read it and close. */
const farewellMs = 5_000;
/** One message of output; the runtime's pipes give no more at a time. */
const maxChunkBytes = 64 * 1024;

export class NodeStreams {
  readonly #ports: StreamPorts;
  readonly #abort = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(ports: StreamPorts) {
    this.#ports = ports;
  }

  /** Returns at once. */
  answer({ streamId, request }: OpenStream): void {
    if (this.#abort.signal.aborted) return;
    // Counted now: those that come later have no part in it.
    const isFull = this.#running.size >= maxStreams;
    const work = this.#serve(streamId, request, isFull)
      .catch((error: unknown) => {
        this.#ports.logger.debug({ streamId, error: describeError(error) }, 'a stream ended early');
      })
      .finally(() => this.#running.delete(work));
    this.#running.add(work);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#running);
  }

  async #serve(streamId: string, request: StreamRequest, isFull: boolean): Promise<void> {
    const over = new AbortController();
    const signal = AbortSignal.any([this.#abort.signal, over.signal]);
    const stream = this.#ports.open(signal);
    const inputs = new Inputs();
    const left = (async () => {
      for await (const { input } of stream) await inputs.put(input);
    })()
      .catch(() => undefined)
      .finally(() => {
        // The controller has closed: nobody waits for more.
        over.abort();
      });
    try {
      await stream.write({ kind: 'begin', streamId });
      try {
        if (isFull) throw new FrotaError('exhausted', `this node has ${String(maxStreams)} streams open already`);
        await this.#work(stream, request, inputs, signal);
      } catch (thrown) {
        inputs.abandon();
        if (signal.aborted) return;
        const error = FrotaError.from(thrown, 'unavailable');
        await stream.write({ kind: 'failure', code: error.code, message: describeError(error) });
      }
      stream.end();
      await pause(farewellMs, signal);
    } finally {
      inputs.abandon();
      stream.close();
      await left;
    }
  }

  async #work(stream: UpStream, request: StreamRequest, inputs: Inputs, signal: AbortSignal): Promise<void> {
    const { runtime, drills } = this.#ports;
    switch (request.kind) {
      case 'logs':
        for await (const lines of runtime.logs(request.taskId, request.query, signal)) {
          await stream.write({ kind: 'logs', lines });
        }
        return;
      case 'exec': {
        const exec = await runtime.exec(request.start.target, toRequest(request.start), signal);
        try {
          inputs.attach(exec);
          await passOutput(exec, stream);
        } finally {
          await exec.kill();
        }
        return;
      }
      case 'drill':
        await stream.write({ kind: 'drill', answer: await drills.take(request.order) });
    }
  }
}

/** What comes before the command runs waits for it, as long as one may still come. */
class Inputs {
  #attached: (exec: Exec | undefined) => void = () => undefined;
  readonly #exec = new Promise<Exec | undefined>((resolve) => {
    this.#attached = resolve;
  });

  attach(exec: Exec): void {
    this.#attached(exec);
  }

  /** No command comes any more: what waits for one is for nobody. */
  abandon(): void {
    this.#attached(undefined);
  }

  /** Resolves when the command has taken it, or has ended. */
  async put(input: StreamDown['input']): Promise<void> {
    const exec = await this.#exec;
    if (exec === undefined) return;
    const ended = exec.done.then(
      () => undefined,
      () => undefined,
    );
    switch (input.kind) {
      case 'chunk':
        if (exec.stdin.writable && !exec.stdin.write(input.chunk)) {
          await Promise.race([once(exec.stdin, 'drain').catch(() => undefined), ended]);
        }
        return;
      case 'end':
        exec.stdin.end();
        return;
      case 'resize':
        exec.resize(input.columns, input.rows);
    }
  }
}

const toRequest = ({ args, environment, user, workingDir, tty, size }: ExecStart) => ({
  args,
  environment,
  tty,
  ...(user === undefined ? {} : { user }),
  ...(workingDir === undefined ? {} : { workingDir }),
  ...(size === undefined ? {} : { size }),
});

async function passOutput(exec: Exec, stream: UpStream): Promise<void> {
  const pass = async (output: Readable, kind: 'stdout' | 'stderr'): Promise<void> => {
    for await (const chunk of output) {
      const bytes = chunk as Buffer;
      for (let at = 0; at < bytes.length; at += maxChunkBytes) {
        await stream.write({ kind: 'output', output: { kind, chunk: bytes.subarray(at, at + maxChunkBytes) } });
      }
    }
  };
  await Promise.all([pass(exec.stdout, 'stdout'), pass(exec.stderr, 'stderr')]);
  const { exitCode } = await exec.done;
  await stream.write({ kind: 'output', output: { kind: 'exit', exitCode } });
}
