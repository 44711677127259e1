/** A person at a command in a container: names the task, then passes both directions on. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { ExecUp } from '../../proto/codec/streams.ts';
import type { ExecInput, ExecOutput } from '../../proto/domain/exec.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import type { Broker } from './broker.ts';
import { runningTask, targetOf } from './targets.ts';

export interface ExecPorts {
  readonly snapshot: () => Snapshot;
  readonly broker: Broker;
}

export async function* runExec(
  { snapshot, broker }: ExecPorts,
  incoming: AsyncIterable<ExecUp>,
  signal: AbortSignal,
): AsyncIterable<ExecOutput> {
  const messages = incoming[Symbol.asyncIterator]();
  const first = await messages.next();
  if (first.done === true || first.value.kind !== 'start') {
    throw new FrotaError('invalid', 'an exec begins with what is to be run');
  }
  const { start } = first.value;
  const { id, nodeId } = runningTask(snapshot(), targetOf(snapshot(), start.target));
  const request = { kind: 'exec', start: { ...start, target: id } } as const;
  let exited = false;
  for await (const message of broker.open(nodeId, request, inputs(messages), signal)) {
    if (message.kind !== 'output') continue;
    exited = message.output.kind === 'exit';
    yield message.output;
  }
  if (!exited) throw new FrotaError('unavailable', 'the command was cut off: its node stopped answering');
}

/** A caller that leaves ends the whole call; the end of what it sends is the end of its input. */
async function* inputs(messages: AsyncIterator<ExecUp>): AsyncGenerator<ExecInput> {
  for (;;) {
    const next = await messages.next();
    if (next.done === true) return;
    if (next.value.kind === 'input') yield next.value.input;
  }
}
