/** Leases of fenced tasks, joined: files in memory, the guard beside the agent, questions over the session. Part of the composition root. */
import { join } from 'node:path';
import type { Logger } from '../proto/base/log.ts';
import { readBootMs } from './fencing/boot-clock.ts';
import { Guard } from './fencing/guard.ts';
import { LeaseFiles } from './fencing/lease-files.ts';
import { TaskLeases } from './fencing/task-leases.ts';
import { detectCgroupLayout, killCgroup } from './host/cgroups.ts';
import type { Link } from './link.ts';
import type { AgentOptions } from './options.ts';
import type { Assignments } from './session/assignments.ts';

export async function openLeases(
  { run, cgroupParent }: AgentOptions,
  { assignments, link, logger }: { assignments: Assignments; link: () => Link | undefined; logger: Logger },
): Promise<TaskLeases> {
  const layout = await detectCgroupLayout();
  const folder = join(run, 'leases');
  const cgroupOf = (taskId: string): string => join(cgroupParent, 'containers', taskId);
  return new TaskLeases({
    files: new LeaseFiles(folder, layout, cgroupOf),
    guard: new Guard({ folder, cgroup: join(cgroupParent, 'guard'), layout, logger }),
    assigned: () => assignments.tasks() ?? [],
    ask: (number) => link()?.askLeases(number) ?? false,
    kill: (taskId) => killCgroup(layout, cgroupOf(taskId)),
    bootMs: readBootMs,
    logger,
  });
}
