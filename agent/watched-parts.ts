/** Journal and runtime with a watchdog over the calls that must return soon. Part of the composition root. */
import { join } from 'node:path';
import { writeFileDurably } from './host/durable-file.ts';
import type { Watchdog } from './liveness/watchdog.ts';
import type { Runtime } from './runtime/runtime.ts';
import type { Journal } from './state/journal.ts';

export function watchedJournal(journal: Journal, disk: Watchdog): Journal {
  return {
    put: (kind, id, value) => disk.watch(() => journal.put(kind, id, value)),
    delete: (kind, id) => disk.watch(() => journal.delete(kind, id)),
    load: (kind) => journal.load(kind),
  };
}

/** Between two small writes of a node that has nothing to journal: whether its disk answers must be known before a task comes. */
export const diskCheckIntervalMs = 2_000;

export async function checkDisk(dataDir: string, disk: Watchdog): Promise<void> {
  await disk.watch(() => writeFileDurably(join(dataDir, 'disk-check'), ''));
}

/** Removal is not watched: a container may leave a great many files. Nor is what runs as long as people want it to. */
export function watchedRuntime(runtime: Runtime, watchdog: Watchdog): Runtime {
  return {
    list: () => runtime.list(),
    create: (spec, signal) => watchdog.watch(() => runtime.create(spec, signal)),
    start: (id) => watchdog.watch(() => runtime.start(id)),
    kill: (id, signal) => watchdog.watch(() => runtime.kill(id, signal)),
    remove: (id) => runtime.remove(id),
    exec: (id, request, signal) => runtime.exec(id, request, signal),
    execCaptured: (id, request, options, signal) => runtime.execCaptured(id, request, options, signal),
    logs: (id, query, signal) => runtime.logs(id, query, signal),
    lastOutput: (id) => runtime.lastOutput(id),
    onExit: (listener) => {
      runtime.onExit(listener);
    },
    close: () => runtime.close(),
  };
}
