/**
 * What the guard goes by: one file for each task that may run under a lease, replaced as a whole. They lie in memory: after a reboot
 * there are neither containers nor leases. Written at once and without waiting, as it is a few bytes.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupFolders, controllerFolder } from '../host/cgroups.ts';
import type { CgroupLayout } from '../host/cgroups.ts';
import { bootClockStepMs } from './boot-clock.ts';

const suffix = '.lease';

export class LeaseFiles {
  readonly #folder: string;
  readonly #layout: CgroupLayout;
  /** Of a task's container. */
  readonly #cgroupOf: (taskId: string) => string;

  constructor(folder: string, layout: CgroupLayout, cgroupOf: (taskId: string) => string) {
    this.#folder = folder;
    this.#layout = layout;
    this.#cgroupOf = cgroupOf;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** By task id: until when, milliseconds since boot. */
  read(): ReadonlyMap<string, number> {
    const found = new Map<string, number>();
    for (const name of readdirSync(this.#folder)) {
      if (!name.endsWith(suffix)) continue;
      const until = Number(readFileSync(join(this.#folder, name), 'utf8').split('\n')[0]);
      found.set(name.slice(0, -suffix.length), until * bootClockStepMs);
    }
    return found;
  }

  write(taskId: string, untilMs: number): void {
    const path = this.#cgroupOf(taskId);
    const { unified } = this.#layout;
    const killer = unified === undefined ? '-' : join(unified, path, 'cgroup.kill');
    const group = controllerFolder(this.#layout, 'freezer', path) ?? cgroupFolders(this.#layout, path)[0] ?? '-';
    const text = [String(Math.floor(untilMs / bootClockStepMs)), killer, group, ''].join('\n');
    const next = join(this.#folder, `.${taskId}`);
    writeFileSync(next, text, { mode: 0o600 });
    renameSync(next, join(this.#folder, taskId + suffix));
  }

  remove(taskId: string): void {
    rmSync(join(this.#folder, taskId + suffix), { force: true });
  }
}
