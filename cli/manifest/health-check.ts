/** A service's `healthcheck`. What it leaves out is the image's, so only what is written is read. */
import type { HealthCheck } from '../../proto/domain/health.ts';
import { healthCheckKeys } from './compose-keys.ts';
import { readDuration } from './durations.ts';
import type { TreeEntry, TreeNode } from './tree.ts';
import { joinPath } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

/** More failures in a row than this are no bound any more. */
const maxRetries = 1_000;

export function readHealthCheck(
  reader: ValueReader,
  node: TreeNode | undefined,
  path: string,
): HealthCheck | undefined {
  if (node === undefined) return undefined;
  const fields = reader.fields(node, path, healthCheckKeys);
  if (fields === undefined) return undefined;
  const disableNode = fields.get('disable')?.value;
  const disable = disableNode === undefined ? false : (reader.boolean(disableNode, joinPath(path, 'disable')) ?? false);
  const testNode = fields.get('test')?.value;
  const test = testNode === undefined ? undefined : readTest(reader, testNode, joinPath(path, 'test'));
  if (disable) {
    if (test !== undefined && test[0] !== 'NONE') {
      reader.problem(
        fields.get('disable')?.at ?? node,
        joinPath(path, 'disable'),
        'there is a "test", too; keep one of the two',
      );
    }
    return { test: ['NONE'] };
  }
  const check: HealthCheck = { ...(test !== undefined && { test }), ...readTimes(reader, fields, path) };
  return Object.keys(check).length === 0 ? undefined : check;
}

const forms = '["CMD", "program", …], ["CMD-SHELL", "line"], ["NONE"] or a string for the shell';

function readTest(reader: ValueReader, node: TreeNode, path: string): readonly string[] | undefined {
  if (node.kind !== 'list') {
    const line = reader.string(node, path, forms);
    return line === undefined ? undefined : ['CMD-SHELL', line];
  }
  const words = reader.strings(node, path);
  if (words === undefined) return undefined;
  const [form, ...rest] = words;
  const fits =
    (form === 'NONE' && rest.length === 0) ||
    (form === 'CMD' && rest.length > 0) ||
    (form === 'CMD-SHELL' && rest.length === 1);
  if (fits) return words;
  reader.problem(node, path, `expected ${forms}`);
  return undefined;
}

function readTimes(
  reader: ValueReader,
  fields: ReadonlyMap<string, TreeEntry>,
  path: string,
): Omit<HealthCheck, 'test'> {
  const duration = (key: string): number | undefined =>
    readDuration(reader, fields.get(key)?.value, joinPath(path, key));
  const intervalMs = duration('interval');
  const timeoutMs = duration('timeout');
  const startPeriodMs = duration('start_period');
  const startIntervalMs = duration('start_interval');
  const retriesNode = fields.get('retries')?.value;
  const retries =
    retriesNode === undefined ? undefined : reader.whole(retriesNode, joinPath(path, 'retries'), 0, maxRetries);
  // Zero means "as the image has it", as in Docker.
  return {
    ...(isGiven(intervalMs) && { intervalMs }),
    ...(isGiven(timeoutMs) && { timeoutMs }),
    ...(isGiven(startPeriodMs) && { startPeriodMs }),
    ...(isGiven(startIntervalMs) && { startIntervalMs }),
    ...(isGiven(retries) && { retries }),
  };
}

const isGiven = (value: number | undefined): value is number => value !== undefined && value > 0;
