/** The last lines of tasks that failed, for the error that ends a wait. What can't be read is said, and is no error. */
import { describeError } from '../../proto/base/errors.ts';
import type { TaskLog } from '../render/unsettled-error.ts';
import type { Control } from './control.ts';

/** Whose lines. */
export interface FailedTask {
  readonly taskId: string;
  readonly stack: string;
  readonly service: string;
  readonly slot: number;
  readonly node: string | null;
}

/** Of each task; a stack trace and what led to it. */
const lastLineCount = 10;
/** More nobody reads at once; they are of different services. */
const maxLogsShown = 3;
/** The waiting is over: a node that does not answer must not prolong it much. */
const readTimeoutMs = 4_000;

/** One of each service, the first that is named: its replicas mostly fail alike. */
export async function lastLinesOf(
  control: Pick<Control, 'logs'>,
  failed: readonly FailedTask[],
  signal: AbortSignal,
): Promise<readonly TaskLog[]> {
  const byService = new Map<string, FailedTask>();
  for (const task of failed) {
    const service = `${task.stack}/${task.service}`;
    if (!byService.has(service)) byService.set(service, task);
  }
  const chosen = [...byService.values()].slice(0, maxLogsShown);
  return Promise.all(chosen.map((task) => readLastLines(control, task, signal)));
}

async function readLastLines(
  control: Pick<Control, 'logs'>,
  { taskId, stack, service, slot, node }: FailedTask,
  signal: AbortSignal,
): Promise<TaskLog> {
  const told = { task: taskId, stack, service, slot, node };
  const ended = AbortSignal.timeout(readTimeoutMs);
  const lines: TaskLog['lines'][number][] = [];
  const notices: string[] = [];
  try {
    const query = { targets: [taskId], tail: lastLineCount, follow: false };
    for await (const reply of control.logs(query, AbortSignal.any([signal, ended]))) {
      notices.push(...reply.notices);
      for (const { line } of reply.lines) {
        lines.push({ time: line.time, stream: line.stream, message: Buffer.from(line.text).toString('utf8') });
      }
    }
  } catch (error) {
    const waited = `its node did not answer within ${String(readTimeoutMs / 1000)} s`;
    notices.push(ended.aborted ? waited : `its log can't be read: ${describeError(error)}`);
  }
  return { ...told, lines: lines.slice(-lastLineCount), missing: notices.length === 0 ? null : notices.join('; ') };
}
