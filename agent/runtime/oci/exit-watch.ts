/** Tells when something may have ended: at once by a watch on conmon's exit folder, and by a poll for what it misses. */
import { watch } from 'node:fs';
import type { Logger } from '../../../proto/base/log.ts';

export interface ExitWatch {
  close(): void;
}

/**
 * `onExitFile` gets the name of a file that appeared; `onPoll` is called every `pollMs`: for events that were lost,
 * and for containers whose conmon is gone, which no file tells of.
 */
export function watchExits(
  folder: string,
  pollMs: number,
  logger: Logger,
  listener: { readonly onExitFile: (name: string) => void; readonly onPoll: () => void },
): ExitWatch {
  const watcher = watch(folder, (_, name) => {
    if (name !== null) listener.onExitFile(name);
  });
  watcher.on('error', (error) => {
    logger.warn({ folder, error: error.message }, 'the watch on exits broke, polling goes on');
  });
  const timer = setInterval(listener.onPoll, pollMs);
  return {
    close: () => {
      clearInterval(timer);
      watcher.close();
    },
  };
}
