/** The last line a failed container wrote usually says why it failed. */
import type { Runtime } from '../runtime/runtime.ts';

export async function withLastOutput(
  runtime: Pick<Runtime, 'lastOutput'>,
  taskId: string,
  reason: string | undefined,
): Promise<string | undefined> {
  const output = await runtime.lastOutput(taskId).catch(() => '');
  const line = output.trimEnd().split('\n').at(-1)?.trim() ?? '';
  return line === '' ? reason : `${reason ?? 'failed'}; its last output: ${line}`;
}
