/** What tasks of this node mount, joined: volumes from disk, configs and secrets from memory. Part of the composition root. */
import { join } from 'node:path';
import type { Logger } from '../proto/base/log.ts';
import { createTaskContents } from './contents/task-contents.ts';
import type { TaskMounts } from './execute/ports.ts';
import { connected } from './link.ts';
import type { Link } from './link.ts';
import { createNodeVolumes } from './volumes/node-volumes.ts';

export interface MountParts {
  /** The agent's folders. */
  readonly dataDir: string;
  readonly runDir: string;
  readonly nodeName: string;
  /** Undefined while there is no session yet. */
  readonly link: () => Link | undefined;
  readonly logger: Logger;
}

/** Nothing that a crash left half-made is there any more when it resolves. */
export async function openMounts({ dataDir, runDir, nodeName, link, logger }: MountParts): Promise<TaskMounts> {
  const contents = await createTaskContents({
    folder: join(runDir, 'contents'),
    fetch: async (ids, signal) => connected(link()).fetchContents(ids, signal),
    random: Math.random,
    logger,
  });
  const volumes = createNodeVolumes({ dataDir, runDir, nodeName, logger });
  await volumes.sweep();
  return {
    prepare: async (task, image, wait) => {
      const files = await contents.prepare(task, wait);
      const { mounts, settle } = await volumes.prepare(task, image, wait.signal);
      return { files, mounts, settle };
    },
    remove: async (taskId) => {
      await contents.remove(taskId);
      await volumes.remove(taskId);
    },
    list: async () => [...new Set([...(await contents.list()), ...(await volumes.list())])],
  };
}
