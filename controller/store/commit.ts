/** What a pass of the plan decided, as transactions: one for each change, so that a conflict drops that change only. */
import { unreachable } from '../../proto/base/assert.ts';
import { encodeKeptPins, encodeService, encodeTask } from '../../proto/codec/records.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { Service } from '../../proto/domain/service.ts';
import type { Change } from '../plan/snapshot.ts';
import { contentKey, keptPinsKey, nodeKey, serviceKey, statusKey, taskKey } from './keys.ts';
import type { Compare, Operation, Store, Transaction } from './store.ts';

/**
 * A record this controller wrote when it began to lead (the cluster's, with the raised epoch). Whoever leads next
 * writes it again, so that everything an earlier leader still commits fails.
 */
export interface Fence {
  readonly key: string;
  readonly modRevision: number;
}

export interface CommitOutcome {
  readonly committed: number;
  readonly conflicts: number;
  /** The highest revision a change was written at; 0 if none was. The snapshot shows all of them from there on. */
  readonly revision: number;
  /** Another controller has taken over: nothing this one commits will be accepted any more. */
  readonly superseded: boolean;
}

/** Transactions in one call: the store writes them in one go, and others must get their turn. */
const maxTransactionsPerCall = 500;

/** @throws FrotaError as `Store.commit`; chunks before the failed one are then durable, and the next pass sees them. */
export async function commitChanges(store: Store, changes: readonly Change[], fence?: Fence): Promise<CommitOutcome> {
  let committed = 0;
  let conflicts = 0;
  let revision = 0;
  let superseded = false;
  for (let next = 0; next < changes.length; next += maxTransactionsPerCall) {
    const chunk = changes.slice(next, next + maxTransactionsPerCall);
    for (const result of await store.commit(chunk.map((change) => transactionOf(change, fence)))) {
      if (result.kind === 'committed') {
        committed += 1;
        revision = Math.max(revision, result.revision);
      } else {
        conflicts += 1;
        superseded ||= fence !== undefined && result.keys.includes(fence.key);
      }
    }
  }
  return { committed, conflicts, revision, superseded };
}

export function transactionOf(change: Change, fence?: Fence): Transaction {
  const { compares, operations } = unfenced(change);
  return { compares: fence === undefined ? compares : [...compares, fence], operations };
}

function unfenced(change: Change): Transaction {
  switch (change.kind) {
    case 'put-service':
      return putServices([change]);
    case 'trade-ports':
      return putServices(change.services);
    case 'delete-service': {
      const [key, pinsKey] = [serviceKey(change.id), keptPinsKey(change.id)];
      const kept: Operation =
        change.pins.length === 0
          ? { kind: 'delete', key: pinsKey }
          : { kind: 'put', key: pinsKey, value: encodeKeptPins(change.pins) };
      return { compares: [{ key, modRevision: change.modRevision }], operations: [{ kind: 'delete', key }, kept] };
    }
    case 'delete-pins': {
      const key = keptPinsKey(change.id);
      return { compares: [{ key, modRevision: change.modRevision }], operations: [{ kind: 'delete', key }] };
    }
    case 'put-task': {
      const key = taskKey(change.task.id);
      const compares: Compare[] = [{ key, modRevision: change.modRevision }];
      const { node } = change;
      if (node !== undefined) compares.push({ key: nodeKey(node.id), modRevision: node.modRevision });
      return { compares, operations: [{ kind: 'put', key, value: encodeTask(change.task) }] };
    }
    case 'delete-task': {
      const key = taskKey(change.id);
      return {
        compares: [{ key, modRevision: change.modRevision }],
        operations: [
          { kind: 'delete', key },
          { kind: 'delete', key: statusKey(change.id) },
        ],
      };
    }
    case 'delete-content': {
      const key = contentKey(change.id);
      return { compares: [{ key, modRevision: change.modRevision }], operations: [{ kind: 'delete', key }] };
    }
    default:
      return unreachable(change);
  }
}

function putServices(services: readonly { readonly service: Service; readonly modRevision: number }[]): Transaction {
  const keyed = services.map((one) => ({ ...one, key: serviceKey(serviceId(one.service.stack, one.service.name)) }));
  return {
    compares: keyed.map(({ key, modRevision }) => ({ key, modRevision })),
    operations: keyed.map(({ key, service }) => ({ kind: 'put', key, value: encodeService(service) })),
  };
}
