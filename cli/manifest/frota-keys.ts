/** `x-frota: {drainDelay: 5s, failover: fenced, lease: 10s}` of a service: what Compose has no key for. */
import { defaultLeaseMs } from '../../proto/domain/fencing.ts';
import type { TaskTemplate } from '../../proto/domain/service.ts';
import { frotaKeys } from './compose-keys.ts';
import { readDuration } from './durations.ts';
import type { TreeNode } from './tree.ts';
import { joinPath } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

export function readFrotaKeys(
  reader: ValueReader,
  service: TreeNode,
  parent: string,
): Pick<TaskTemplate, 'drainDelayMs' | 'fenceLeaseMs'> {
  const node = service.kind === 'map' ? service.entries.find(({ key }) => key === 'x-frota')?.value : undefined;
  if (node === undefined) return { drainDelayMs: 0 };
  const path = joinPath(parent, 'x-frota');
  const fields = reader.fields(node, path, frotaKeys);
  const value = (key: string): TreeNode | undefined => fields?.get(key)?.value;
  const drainDelayMs = readDuration(reader, value('drainDelay'), joinPath(path, 'drainDelay')) ?? 0;
  const isFenced = reader.oneOf(value('failover'), joinPath(path, 'failover'), ['fenced'] as const) !== undefined;
  const lease = value('lease');
  // Whether it is too short or too long is the domain's to say.
  const leaseMs = readDuration(reader, lease, joinPath(path, 'lease')) ?? defaultLeaseMs;
  if (isFenced) return { drainDelayMs, fenceLeaseMs: leaseMs };
  if (lease !== undefined && value('failover') === undefined) {
    reader.problem(lease, joinPath(path, 'lease'), 'only a fenced service has a lease; add "failover: fenced"');
  }
  return { drainDelayMs };
}
