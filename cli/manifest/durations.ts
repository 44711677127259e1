import { parseDurationMs } from './quantities.ts';
import type { TreeNode } from './tree.ts';
import { quoteFound } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

/** A day: nothing that a cluster waits for in a service's life takes longer. */
const maxDurationMs = 86_400_000;

/** Undefined where nothing is written, and after a problem. */
export function readDuration(
  reader: ValueReader,
  node: TreeNode | undefined,
  path: string,
  maxMs: number = maxDurationMs,
): number | undefined {
  if (node === undefined) return undefined;
  const expected = 'a duration such as "10s" or "1m30s"';
  const text = reader.string(node, path, expected);
  if (text === undefined) return undefined;
  const ms = parseDurationMs(text);
  if (ms !== undefined && ms <= maxMs) return ms;
  const message =
    ms === undefined
      ? `expected ${expected}, found ${quoteFound(node, text)}`
      : `longer than ${String(maxMs / 3_600_000)}h`;
  reader.problem(node, path, message);
  return undefined;
}
