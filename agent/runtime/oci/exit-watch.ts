/** Tells when something may have ended: at once by a watch on conmon's exit folder, and by a poll for what it misses. */
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { describeError } from '../../../proto/base/errors.ts';
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
  const watcher = tryWatch(folder, logger, listener.onExitFile);
  const timer = setInterval(listener.onPoll, pollMs);
  return {
    close: () => {
      clearInterval(timer);
      watcher?.close();
    },
  };
}

/** Undefined where the host has no inotify instance left, which any container can use up: the poll does without. */
function tryWatch(folder: string, logger: Logger, onFile: (name: string) => void): FSWatcher | undefined {
  const told = (error: unknown): void => {
    logger.warn({ folder, error: describeError(error) }, 'no watch on exits, polling goes on');
  };
  try {
    const watcher = watch(folder, (_, name) => {
      if (name !== null) onFile(name);
    });
    watcher.on('error', told);
    return watcher;
  } catch (error) {
    told(error);
    return undefined;
  }
}
