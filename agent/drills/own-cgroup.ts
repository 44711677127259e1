/** Where this process lives, and how it moves out: who undoes a fault must not be hit by it, nor die with who has started it. */
import { readFile } from 'node:fs/promises';
import { detectCgroupLayout, makeCgroup, moveToCgroup, removeCgroup } from '../host/cgroups.ts';

/** From `/proc/PID/cgroup` (cgroups(7)): the path in the v2 tree, else the first that is not the root. */
export function cgroupPathOf(text: string): string {
  const lines = text
    .split('\n')
    .map((line) => /^(\d+):[^:]*:(.*)$/u.exec(line))
    .filter((match) => match !== null);
  const unified = lines.find(([, id]) => id === '0')?.[2];
  if (unified !== undefined && unified !== '/') return unified;
  return lines.map(([, , path]) => path ?? '/').find((path) => path !== '/') ?? '/';
}

/** Paths, the same in every hierarchy. */
export interface Places {
  /** Where this process began, and who has started it lives. */
  readonly home: string;
  readonly aside: string;
}

/** Into a group beside the present one. */
export async function moveAside(): Promise<Places> {
  const layout = await detectCgroupLayout();
  const home = cgroupPathOf(await readFile('/proc/self/cgroup', 'utf8'));
  const aside = `${home === '/' ? '/frota' : home}-drill`;
  await makeCgroup(layout, aside);
  await moveToCgroup(layout, aside, process.pid);
  return { home, aside };
}

/** Leaves nothing behind: a process that is about to end may be anywhere. */
export async function leaveAside({ aside }: Places): Promise<void> {
  const layout = await detectCgroupLayout();
  await moveToCgroup(layout, '/', process.pid);
  await removeCgroup(layout, aside);
}
