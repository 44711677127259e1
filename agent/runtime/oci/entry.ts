/** A container as one agent process knows it, and what others are told of it. */
import { FrotaError } from '../../../proto/base/errors.ts';
import type { Container, ContainerState } from '../runtime.ts';
import type { ContainerRecord } from './container-record.ts';

/** Fields change, the entry stays. Writer: `oci-runtime.ts`. */
export interface Entry {
  record: ContainerRecord;
  /** From the first `remove` on nobody is told of its end. */
  removing: boolean;
  /** Writes of the record come one after the other, each with the latest. */
  writing: Promise<void>;
}

export const newEntry = (record: ContainerRecord): Entry => ({ record, removing: false, writing: Promise.resolve() });

/** Whether its end is still to be told. */
export const isOpen = (entry: Entry): boolean => !entry.removing && entry.record.exit === undefined;

/** Whether more of its output may come. */
export const mayWrite = ({ record, removing }: Entry): boolean => !removing && record.exit === undefined;

export function toContainer({ id, phase, process, startedAtMs, exit }: ContainerRecord): Container {
  const started = startedAtMs === undefined ? {} : { startedAtMs };
  let state: ContainerState = { kind: 'created' };
  if (exit !== undefined) state = { kind: 'ended', ...started, exit };
  else if (phase === 'started') state = { kind: 'running', pid: process.pid, startedAtMs: startedAtMs ?? 0 };
  return { id, state };
}

/** The record of a container in which something can be run. Throws `not-found`, or `conflict` with the state it has. */
export function runningRecord(id: string, entry: Entry | undefined): ContainerRecord {
  if (entry === undefined) throw new FrotaError('not-found', `container ${id} does not exist on this node`);
  const { record, removing } = entry;
  if (record.exit !== undefined) {
    const code = record.exit.exitCode === undefined ? 'unknown' : String(record.exit.exitCode);
    throw new FrotaError(
      'conflict',
      `container ${id} has ended (exit code ${code}); nothing can be run in it any more`,
    );
  }
  if (removing) throw new FrotaError('conflict', `container ${id} is being removed; nothing can be run in it any more`);
  if (record.phase !== 'started') throw new FrotaError('conflict', `container ${id} has not been started yet`);
  return record;
}
