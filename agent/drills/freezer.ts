/** Control groups that stand still, and move again. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { controllerFolder, detectCgroupLayout } from '../host/cgroups.ts';
import type { CgroupLayout } from '../host/cgroups.ts';

/** No error where a group does not exist: then nothing of it runs. */
export async function freeze(paths: readonly string[]): Promise<void> {
  await setFrozen(await detectCgroupLayout(), paths, true);
}

export async function thaw(paths: readonly string[]): Promise<void> {
  await setFrozen(await detectCgroupLayout(), paths, false);
}

/** Everything below stands still with a group, in the v2 tree as in v1's freezer. */
async function setFrozen(layout: CgroupLayout, paths: readonly string[], frozen: boolean): Promise<void> {
  for (const path of paths) {
    const v1 = layout.unified === undefined ? controllerFolder(layout, 'freezer', path) : undefined;
    if (layout.unified !== undefined) await write(join(layout.unified, path, 'cgroup.freeze'), frozen ? '1' : '0');
    else if (v1 !== undefined) await write(join(v1, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED');
  }
}

async function write(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'r+' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
