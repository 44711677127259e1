/** What the rest of the controller writes, record by record: fenced, and shown by the mirror before it is called done. */
import { FrotaError } from '../../proto/base/errors.ts';
import { encodeNode, encodeNodeFacts, encodeTask, encodeTaskStatus } from '../../proto/codec/records.ts';
import type { Node, NodeFacts } from '../../proto/domain/node.ts';
import type { Revision } from '../../proto/domain/revision.ts';
import type { Task, TaskStatus } from '../../proto/domain/task.ts';
import type { Change, Stored } from '../plan/snapshot.ts';
import type { CommitOutcome } from './commit.ts';
import type { Leadership } from './cluster-record.ts';
import { createFence, fencedWrites, planCommits } from './fence.ts';
import { acceptance, readHistory, removal } from './history.ts';
import { factsKey, nodeKey, stackKey, statusKey, taskKey } from './keys.ts';
import type { Mirror } from './mirror.ts';
import type { Operation, Store, Transaction } from './store.ts';

export interface Records {
  /**
   * The plan's changes. Resolves when the snapshot shows those that were committed. After a commit that failed the next
   * one writes nothing (all are conflicts) but makes sure that the snapshot shows whatever was written.
   */
  commit(changes: readonly Change[]): Promise<CommitOutcome>;
  /**
   * Puts a stack as the revision says, with the revision in its history, of which the oldest goes; or (undefined) deletes
   * both. All or nothing, and only if the stack still has `modRevision`. False: somebody was first.
   */
  putStack(name: string, revision: Revision | undefined, modRevision: number): Promise<boolean>;
  /** The accepted versions of a stack that are kept, oldest first. @throws FrotaError as `Store.range`, or `corrupt`. */
  history(stack: string): Promise<readonly Revision[]>;
  /** Any transactions, fenced. Resolves when the snapshot shows them; false for each that conflicted. */
  write(transactions: readonly Transaction[]): Promise<readonly boolean[]>;
  /** Asks the store. @throws FrotaError `conflict` when another controller leads, else as `Store.range`. */
  confirmLead(): Promise<void>;
  /** Puts a node if it still has `modRevision`. False: somebody was first. */
  putNode(node: Node, modRevision: number): Promise<boolean>;
  /** Durable when it resolves. A status whose task is gone is dropped. */
  putStatuses(statuses: readonly TaskStatus[]): Promise<void>;
  /**
   * Each: a task takes the place of another in its slot, on its node, if neither that task nor the node has changed since.
   * False for each that conflicted.
   */
  takePlaces(takings: readonly PlaceTaken[]): Promise<readonly boolean[]>;
  /** Writes only what is new. */
  putFacts(facts: NodeFacts): Promise<void>;
  /** Uses up the token (`redemption`) and records the node in its place, all or nothing. */
  admitNode(redemption: Transaction, node: Node, replaces: Stored<Node> | undefined): Promise<'admitted' | 'conflict'>;
}

export interface PlaceTaken {
  /** New. */
  readonly task: Task;
  /** As it is to be written. */
  readonly predecessor: Task;
  /** Of the predecessor. */
  readonly modRevision: number;
  readonly node: { readonly id: string; readonly modRevision: number };
}

/** The plan changes a task a few times in its life; more conflicts in a row than this are a sign of something else. */
const maxStatusRounds = 10;

export function createRecords({
  store,
  leadership,
  mirror,
}: {
  store: Store;
  leadership: Leadership;
  mirror: Mirror;
}): Records {
  const fence = createFence(store, leadership, mirror);
  const write = fencedWrites(store, fence, mirror);
  return {
    write,
    commit: planCommits(store, fence, mirror),
    confirmLead: () => fence.confirm(),
    putStack: async (name, revision, modRevision) => {
      const latest = mirror.snapshot().stacks.get(name)?.value.version ?? 0;
      const operations = revision === undefined ? removal(name, latest) : acceptance(revision);
      const [committed] = await write([{ compares: [{ key: stackKey(name), modRevision }], operations }]);
      return committed === true;
    },
    history: (stack) => readHistory(store, stack),
    putNode: async (node, modRevision) => {
      const key = nodeKey(node.id);
      const operation: Operation = { kind: 'put', key, value: encodeNode(node) };
      const [committed] = await write([{ compares: [{ key, modRevision }], operations: [operation] }]);
      return committed === true;
    },
    putStatuses: async (statuses) => {
      let remaining = statuses;
      for (let round = 0; round < maxStatusRounds && remaining.length > 0; round += 1) {
        const { tasks } = mirror.snapshot();
        const known = remaining.filter(({ taskId }) => tasks.has(taskId));
        const done = await write(
          known.map((status) => statusTransaction(status, tasks.get(status.taskId)?.modRevision ?? 0)),
        );
        // A task that changed meanwhile (it is to be stopped, say) is tried again as it is now.
        remaining = known.filter((_status, index) => done[index] !== true);
      }
      if (remaining.length > 0)
        throw new FrotaError('conflict', 'task records keep changing; the agent tells their status again');
    },
    takePlaces: (takings) => write(takings.map(takePlace)),
    putFacts: async (facts) => {
      const known = mirror.snapshot().facts.get(facts.nodeId);
      const value = encodeNodeFacts(facts);
      if (known !== undefined && Buffer.from(encodeNodeFacts(known)).equals(value)) return;
      await write([{ compares: [], operations: [{ kind: 'put', key: factsKey(facts.nodeId), value }] }]);
    },
    admitNode: async (redemption, node, replaces) => {
      const compares = [...redemption.compares, { key: nodeKey(node.id), modRevision: 0 }];
      const operations: Operation[] = [
        ...redemption.operations,
        { kind: 'put', key: nodeKey(node.id), value: encodeNode(node) },
      ];
      if (replaces !== undefined) {
        compares.push({ key: nodeKey(replaces.value.id), modRevision: replaces.modRevision });
        operations.push(
          { kind: 'delete', key: nodeKey(replaces.value.id) },
          { kind: 'delete', key: factsKey(replaces.value.id) },
        );
      }
      const [committed] = await write([{ compares, operations }]);
      return committed === true ? 'admitted' : 'conflict';
    },
  };
}

function takePlace({ task, predecessor, modRevision, node }: PlaceTaken): Transaction {
  return {
    compares: [
      { key: taskKey(predecessor.id), modRevision },
      { key: taskKey(task.id), modRevision: 0 },
      { key: nodeKey(node.id), modRevision: node.modRevision },
    ],
    operations: [predecessor, task].map((each) => ({ kind: 'put', key: taskKey(each.id), value: encodeTask(each) })),
  };
}

/** Compares the task: one that is deleted at this moment would leave its status behind for ever. */
function statusTransaction(status: TaskStatus, taskRevision: number): Transaction {
  return {
    compares: [{ key: taskKey(status.taskId), modRevision: taskRevision }],
    operations: [{ kind: 'put', key: statusKey(status.taskId), value: encodeTaskStatus(status) }],
  };
}
