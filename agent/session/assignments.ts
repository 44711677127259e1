/**
 * What this node must have, as the controller last said, kept durably unit by unit: after a restart the agent knows it
 * without a controller. Units are complete; a message from an older epoch than the largest seen is refused. Memory is the
 * truth of this process: where the disk is full orders are followed all the same, and a restart asks for them again.
 */
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { HeldUnit } from '../../proto/codec/dispatch.ts';
import type { AssignedTask, NetworkUnit, RevisedUnit, ServiceUnit, Unit } from '../../proto/domain/assignment.ts';
import type { ResolvedImage } from '../../proto/domain/service.ts';
import type { Journal } from '../state/journal.ts';
import type { FollowedUnit } from './applied-units.ts';

/** What the controller told this node about itself. */
export interface NodeSelf {
  readonly nodeId: string;
  readonly nodeName: string;
  readonly subnet: string;
  readonly epoch: number;
  /** Hosts and CIDRs that may be asked over plain HTTP; followed from the agent's next start on. */
  readonly insecureRegistries: readonly string[];
}

export interface Assignments {
  self(): NodeSelf | undefined;
  /** @throws FrotaError `conflict` for an epoch older than the largest seen. */
  welcome(self: NodeSelf): Promise<void>;
  /** Known at once, durable when it resolves. */
  put(key: string, unit: RevisedUnit): Promise<void>;
  remove(key: string): Promise<void>;
  held(): readonly HeldUnit[];
  tasks(): readonly AssignedTask[] | undefined;
  network(): NetworkUnit | undefined;
  /** To have ahead of need. */
  images(): readonly ResolvedImage[];
  services(): readonly ServiceUnit[];
  /** The same units by key and revision. */
  heldServices(): readonly FollowedUnit[];
}

export async function loadAssignments(journal: Journal, logger: Logger): Promise<Assignments> {
  const units = new Map<string, RevisedUnit>();
  for (const { id, value } of await journal.load('units')) units.set(id, value as RevisedUnit);
  /** By key: the write under way, and the one behind it. */
  const writing = new Map<string, Promise<void>>();
  const awaiting = new Map<string, Promise<void>>();
  let self = (await journal.load('self')).find((record) => record.id === 'self')?.value as NodeSelf | undefined;
  const unitOf = <K extends Unit['kind']>(kind: K): Extract<Unit, { kind: K }> | undefined => {
    const unit = units.get(kind)?.unit;
    return unit?.kind === kind ? (unit as Extract<Unit, { kind: K }>) : undefined;
  };
  const kept = (what: string, written: Promise<void>): Promise<void> =>
    written.catch((error: unknown) => {
      logger.error(
        { what, error: describeError(error) },
        'not journaled; it is followed, and asked for again after a restart',
      );
    });
  /** Of those that come while one is being written, the last is written next. */
  const keptLatest = (key: string): Promise<void> => {
    const waiting = awaiting.get(key);
    if (waiting !== undefined) return waiting;
    const turn = (writing.get(key) ?? Promise.resolve()).then(async () => {
      awaiting.delete(key);
      const unit = units.get(key);
      if (unit === undefined) return;
      const written = kept(key, journal.put('units', key, unit));
      writing.set(key, written);
      await written;
      if (writing.get(key) === written) writing.delete(key);
    });
    awaiting.set(key, turn);
    return turn;
  };

  return {
    self: () => self,
    welcome: async (next) => {
      if (self !== undefined && next.epoch < self.epoch) {
        throw new FrotaError(
          'conflict',
          `refused a controller of epoch ${String(next.epoch)}: this node has seen epoch ${String(self.epoch)}`,
        );
      }
      if (self !== undefined && sameSelf(self, next)) return;
      self = next;
      await kept('self', journal.put('self', 'self', next));
    },
    put: (key, unit) => {
      units.set(key, unit);
      return unit.unit.kind === 'tasks' ? kept(key, journal.put('units', key, unit)) : keptLatest(key);
    },
    remove: async (key) => {
      units.delete(key);
      await kept(key, journal.delete('units', key));
    },
    held: () => [...units].map(([key, { revision }]) => ({ key, revision })),
    tasks: () => unitOf('tasks')?.tasks,
    network: () => unitOf('network'),
    images: () => unitOf('images')?.images ?? [],
    heldServices: () =>
      [...units].flatMap(([key, source]) =>
        source.unit.kind === 'service' ? [{ key, revision: source.revision, source }] : [],
      ),
    services: () => [...units.values()].flatMap(({ unit }) => (unit.kind === 'service' ? [unit] : [])),
  };
}

const sameSelf = (a: NodeSelf, b: NodeSelf): boolean =>
  a.nodeId === b.nodeId &&
  a.nodeName === b.nodeName &&
  a.subnet === b.subnet &&
  a.epoch === b.epoch &&
  a.insecureRegistries.join() === b.insecureRegistries.join();
