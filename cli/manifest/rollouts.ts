/** `deploy.update_config`, `deploy.rollback_config` and `deploy.restart_policy`. */
import type { RestartPolicy } from '../../proto/domain/service.ts';
import { defaultUpdatePolicy } from '../../proto/domain/update.ts';
import type { UpdatePolicy } from '../../proto/domain/update.ts';
import { maxReplicas, maxRestartWindowMs } from '../../proto/domain/validate.ts';
import { restartPolicyKeys, updateKeys } from './compose-keys.ts';
import { readDuration } from './durations.ts';
import type { TreeNode } from './tree.ts';
import { joinPath, quoteFound } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

const orders = ['stop-first', 'start-first'] as const;
const actionsOf = {
  update: ['pause', 'continue', 'rollback'],
  rollback: ['pause', 'continue'],
} as const;

export function readUpdatePolicy(
  reader: ValueReader,
  node: TreeNode | undefined,
  path: string,
  of: keyof typeof actionsOf,
): UpdatePolicy {
  const fields = node === undefined ? undefined : reader.fields(node, path, updateKeys);
  if (fields === undefined) return defaultUpdatePolicy;
  const at = (key: string): string => joinPath(path, key);
  const parallelismNode = fields.get('parallelism')?.value;
  const ratioNode = fields.get('max_failure_ratio')?.value;
  const fallback = defaultUpdatePolicy;
  return {
    parallelism:
      (parallelismNode && reader.whole(parallelismNode, at('parallelism'), 0, maxReplicas)) ?? fallback.parallelism,
    delayMs: readDuration(reader, fields.get('delay')?.value, at('delay')) ?? fallback.delayMs,
    order: reader.oneOf(fields.get('order')?.value, at('order'), orders) ?? fallback.order,
    monitorMs: readDuration(reader, fields.get('monitor')?.value, at('monitor')) ?? fallback.monitorMs,
    failureAction:
      reader.oneOf(fields.get('failure_action')?.value, at('failure_action'), actionsOf[of]) ?? fallback.failureAction,
    maxFailureRatio: (ratioNode && readRatio(reader, ratioNode, at('max_failure_ratio'))) ?? fallback.maxFailureRatio,
  };
}

function readRatio(reader: ValueReader, node: TreeNode, path: string): number | undefined {
  const expected = 'a share from 0 to 1 such as 0.25';
  const text = reader.stringOrNumber(node, path, expected);
  if (text === undefined) return undefined;
  const ratio = /^(?:\d+(?:\.\d*)?|\.\d+)$/u.test(text) ? Number(text) : NaN;
  if (ratio >= 0 && ratio <= 1) return ratio;
  reader.problem(node, path, `expected ${expected}, found ${quoteFound(node, text)}`);
  return undefined;
}

/** It travels as a 32-bit number; so many attempts are no bound any more. */
const maxRestartAttempts = 1_000_000;

/** It goes before the service's `restart`. */
export function readRestartPolicy(reader: ValueReader, node: TreeNode, path: string): RestartPolicy {
  const fields = reader.fields(node, path, restartPolicyKeys);
  const at = (key: string): string => joinPath(path, key);
  const condition = reader.oneOf(fields?.get('condition')?.value, at('condition'), [
    'any',
    'on-failure',
    'none',
  ] as const);
  const attemptsNode = fields?.get('max_attempts')?.value;
  const attempts = attemptsNode && reader.whole(attemptsNode, at('max_attempts'), 0, maxRestartAttempts);
  const delayMs = readDuration(reader, fields?.get('delay')?.value, at('delay'));
  const windowMs = readDuration(reader, fields?.get('window')?.value, at('window'), maxRestartWindowMs);
  return {
    condition: condition ?? 'any',
    // As in Docker, zero means no bound, and no window.
    ...(attempts !== undefined && attempts > 0 && { maxAttempts: attempts }),
    ...(delayMs !== undefined && { delayMs }),
    ...(windowMs !== undefined && windowMs > 0 && { windowMs }),
  };
}
