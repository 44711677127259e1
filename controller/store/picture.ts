/** The store's records, decoded, as one snapshot: what the mirror keeps. Synchronous and without I/O. */
import { describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import {
  decodeClusterRecord,
  decodeContentRecord,
  decodeKeptPins,
  decodeNode,
  decodeNodeFacts,
  decodeService,
  decodeStack,
  decodeTask,
  decodeTaskStatus,
} from '../../proto/codec/records.ts';
import type { ContentFacts } from '../../proto/domain/content.ts';
import type { Node, NodeFacts } from '../../proto/domain/node.ts';
import type { Pin, Service, Stack } from '../../proto/domain/service.ts';
import { isEnded, taskStateRank } from '../../proto/domain/task.ts';
import type { Task, TaskStatus } from '../../proto/domain/task.ts';
import type { Snapshot, Stored } from '../plan/snapshot.ts';
import { parseKey } from './keys.ts';
import type { RecordKey } from './keys.ts';
import { createCopyOnWriteMap } from './copy-on-write-map.ts';
import type { CopyOnWriteMap } from './copy-on-write-map.ts';
import type { Entry, Range, WatchBatch } from './store.ts';

export interface Picture {
  snapshot(): Snapshot;
  /** As `snapshot().revision`, without taking a snapshot. */
  revision(): number;
  /** @returns whether a record of the snapshot was touched. */
  apply(batch: WatchBatch): boolean;
  /** Everything anew; what did not change stays the same object. */
  replace(range: Range): void;
  /** @returns whether it is news: the task exists and neither the store nor an earlier report is further. */
  reportTransient(status: TaskStatus): boolean;
  /** By key: records that could not be decoded and are therefore missing, with the reason. */
  unreadable(): ReadonlyMap<string, string>;
}

interface Rooms {
  readonly stack: CopyOnWriteMap<Stored<Stack>>;
  readonly service: CopyOnWriteMap<Stored<Service>>;
  readonly keptPins: CopyOnWriteMap<Stored<readonly Pin[]>>;
  readonly task: CopyOnWriteMap<Stored<Task>>;
  readonly node: CopyOnWriteMap<Stored<Node>>;
  readonly facts: CopyOnWriteMap<NodeFacts>;
  readonly content: CopyOnWriteMap<Stored<ContentFacts>>;
}

export function createPicture(logger: Logger): Picture {
  const records = createRecords();
  const revisions = new Map<string, number>();
  const unreadable = new Map<string, string>();
  let revision = 0;
  let current: Snapshot | undefined;

  /** @returns whether it is a record of the snapshot. */
  function put(entry: Entry): boolean {
    const key = parseKey(entry.key);
    if (key === undefined) return false;
    if (revisions.get(entry.key) === entry.modRevision) return true;
    revisions.set(entry.key, entry.modRevision);
    try {
      records.store(key, entry);
      unreadable.delete(entry.key);
    } catch (error) {
      const reason = describeError(error);
      logger.error(
        { key: entry.key, bytes: entry.value.length, error: reason },
        'stored record is unreadable; left out',
      );
      records.drop(key);
      unreadable.set(entry.key, reason);
    }
    return true;
  }

  function remove(key: string): boolean {
    const parsed = parseKey(key);
    if (parsed === undefined) return false;
    revisions.delete(key);
    unreadable.delete(key);
    records.drop(parsed);
    return true;
  }

  function moveTo(next: number): void {
    revision = next;
    current = undefined;
  }

  return {
    snapshot: () =>
      (current ??= {
        revision,
        ...records.share(),
      }),
    revision: () => revision,
    apply: (batch) => {
      const touched = batch.changes.map((change) => (change.kind === 'put' ? put(change.entry) : remove(change.key)));
      // The history and others keep their own records in the store; they are nothing to plan for.
      if (!touched.includes(true)) {
        revision = batch.revision;
        return false;
      }
      moveTo(batch.revision);
      return true;
    },
    replace: (range) => {
      const present = new Set(range.entries.map(({ key }) => key));
      for (const key of [...revisions.keys()]) if (!present.has(key)) remove(key);
      for (const entry of range.entries) put(entry);
      moveTo(range.revision);
    },
    reportTransient: (status) => {
      if (!records.report(status)) return false;
      moveTo(revision);
      return true;
    },
    unreadable: () => new Map(unreadable),
  };
}

/** The decoded records, by kind. */
function createRecords() {
  const rooms: Rooms = {
    stack: createCopyOnWriteMap(),
    service: createCopyOnWriteMap(),
    keptPins: createCopyOnWriteMap(),
    task: createCopyOnWriteMap(),
    node: createCopyOnWriteMap(),
    facts: createCopyOnWriteMap(),
    content: createCopyOnWriteMap(),
  };
  const statuses = createStatuses();
  let pools = { containerPool: '', vipPool: '' };

  function store(key: RecordKey, { value, modRevision }: Entry): void {
    if (key.kind === 'cluster') {
      const { containerPool, vipPool } = decodeClusterRecord(value);
      pools = { containerPool, vipPool };
    } else if (key.kind === 'stack') rooms.stack.set(key.id, { value: decodeStack(value), modRevision });
    else if (key.kind === 'service') rooms.service.set(key.id, { value: decodeService(value), modRevision });
    else if (key.kind === 'keptPins') rooms.keptPins.set(key.id, { value: decodeKeptPins(value), modRevision });
    else if (key.kind === 'task') rooms.task.set(key.id, { value: decodeTask(value), modRevision });
    else if (key.kind === 'node') rooms.node.set(key.id, { value: decodeNode(value), modRevision });
    else if (key.kind === 'facts') rooms.facts.set(key.id, decodeNodeFacts(value));
    else if (key.kind === 'content') rooms.content.set(key.id, { value: factsOf(value), modRevision });
    else if (key.kind === 'status') statuses.store(key.id, decodeTaskStatus(value));
  }

  function drop(key: RecordKey): void {
    if (key.kind === 'cluster' || key.kind === 'token' || key.kind === 'registry') return;
    if (key.kind === 'status') statuses.drop(key.id);
    else rooms[key.kind].delete(key.id);
    if (key.kind === 'task') statuses.forget(key.id);
  }

  return {
    store,
    drop,
    report: (status: TaskStatus): boolean => rooms.task.has(status.taskId) && statuses.report(status),
    share: (): Omit<Snapshot, 'revision'> => ({
      ...pools,
      stacks: rooms.stack.share(),
      services: rooms.service.share(),
      keptPins: rooms.keptPins.share(),
      tasks: rooms.task.share(),
      statuses: statuses.share(),
      nodes: rooms.node.share(),
      facts: rooms.facts.share(),
      contents: rooms.content.share(),
    }),
  };
}

/** The bytes stay in the store: they are asked for when a node needs them. */
function factsOf(value: Uint8Array): ContentFacts {
  const { id, kind, writtenAtMs } = decodeContentRecord(value);
  return { id, kind, writtenAtMs };
}

/** Stored statuses, and over them those that live in memory only, as one map. */
function createStatuses() {
  const shown = createCopyOnWriteMap<TaskStatus>();
  const stored = new Map<string, TaskStatus>();
  const transient = new Map<string, TaskStatus>();
  const rank = (status: TaskStatus | undefined): number => (status === undefined ? -1 : taskStateRank(status.state));

  function show(id: string): void {
    const status = transient.get(id) ?? stored.get(id);
    if (status === undefined) shown.delete(id);
    else shown.set(id, status);
  }

  return {
    share: () => shown.share(),
    store: (id: string, status: TaskStatus): void => {
      stored.set(id, status);
      if (rank(status) >= rank(transient.get(id))) transient.delete(id);
      show(id);
    },
    drop: (id: string): void => {
      stored.delete(id);
      show(id);
    },
    /** The task is gone; a stored status goes by its own key. */
    forget: (id: string): void => {
      transient.delete(id);
      show(id);
    },
    /** Within one state the text may change (`pulling 12.3 of 81.0 MB`); an end is final. */
    report: (status: TaskStatus): boolean => {
      const { taskId: id } = status;
      const shownNow = shown.get(id);
      if (shownNow !== undefined && isEnded(shownNow.state)) return false;
      if (rank(status) <= rank(stored.get(id)) || rank(status) < rank(transient.get(id))) return false;
      transient.set(id, status);
      show(id);
      return true;
    },
  };
}
