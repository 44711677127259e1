/** How a stack comes to what was declared, watched: at once, after every change, and when time alone changes it. */
import type { StackProgress } from '../../proto/codec/control.ts';
import { isConverged } from '../plan/converged.ts';
import { failedAttempts } from '../plan/failed-attempts.ts';
import { settlingOf } from '../plan/settling.ts';
import { stuckOf } from '../plan/stuck.ts';
import { serviceViews, taskViews } from '../plan/views.ts';
import type { ViewInput } from '../plan/views.ts';

/** A watched stack is told about at most this often: a screen shows no more, and thousands of tasks change at once. */
const watchIntervalMs = 50;

export interface ProgressPorts {
  readonly viewInput: () => ViewInput;
  /** Calls the listener after each change of what people can see, until the returned function is called. */
  readonly onChange: (listener: () => void) => () => void;
  readonly nowMs: () => number;
}

interface Look {
  readonly progress: StackProgress;
  /** It is another one then, though nothing happens. */
  readonly againInMs?: number;
}

export async function* watchStack(
  ports: ProgressPorts,
  stack: string,
  signal: AbortSignal,
): AsyncIterable<StackProgress> {
  let changed = true;
  let ring: () => void = () => undefined;
  const wake = (): void => {
    changed = true;
    ring();
  };
  const off = ports.onChange(wake);
  const onAbort = (): void => {
    ring();
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    while (!signal.aborted) {
      if (!changed) {
        await new Promise<void>((resolve) => {
          ring = resolve;
        });
        continue;
      }
      changed = false;
      const { progress, againInMs } = look(ports.viewInput(), stack, ports.nowMs());
      clearTimeout(timer);
      if (againInMs !== undefined) timer = setTimeout(wake, againInMs);
      yield progress;
      await new Promise((resolve) => setTimeout(resolve, watchIntervalMs));
    }
  } finally {
    off();
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function look(input: ViewInput, stack: string, nowMs: number): Look {
  const { snapshot, liveness } = input;
  const declared = snapshot.stacks.get(stack);
  const { services: settling, dueInMs } = settlingOf(snapshot, stack, nowMs);
  const progress = {
    declared: declared !== undefined,
    version: declared?.value.version ?? 0,
    services: serviceViews(input, stack),
    tasks: taskViews(input, { stack }),
    converged: isConverged(snapshot, liveness, stack),
    settling,
    stuck: stuckOf(snapshot, liveness, stack, settling),
    failed: failedAttempts(snapshot, liveness, stack, settling),
  };
  return { progress, ...(dueInMs === undefined ? {} : { againInMs: dueInMs }) };
}
