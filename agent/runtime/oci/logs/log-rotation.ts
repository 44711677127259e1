/**
 * Rotates the logs of running containers. Nothing is lost: the file is renamed, conmon goes on writing into it, and is
 * then told to begin a new one. conmon's own limit throws lines away, so it is only there for the time without an agent.
 */
import { constants, statSync } from 'node:fs';
import { open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError } from '../../../../proto/base/errors.ts';
import type { Logger } from '../../../../proto/base/log.ts';
import type { ContainerFolders } from '../folders.ts';
import { listLogFiles, rotatedName, rotatedNumber } from './log-files.ts';

export interface LogLimits {
  /** A file that is larger is rotated; it grows on until that is noticed. */
  readonly maxFileBytes: number;
  /** Files of one container, the one that is written included. */
  readonly maxFiles: number;
  /**
   * After so much output in all conmon throws the present file away, and again after as much more: it counts on across
   * rotations (conmon 2.1.6). Without an agent nothing else keeps a container from filling the disk.
   */
  readonly unattendedBytes: number;
}

/** Docker's json-file users expect `max-size` and `max-file`; these are the sizes they most often choose. */
export const defaultLogLimits: LogLimits = {
  maxFileBytes: 10 * 1024 * 1024,
  maxFiles: 3,
  // An agent is away for a second as a rule. The larger, the more seldom the lines of the present file are lost.
  unattendedBytes: 1024 * 1024 * 1024,
};
/** A container can write some 80 MB/s: at this pace a file is never much larger than it should be. */
const checkMs = 250;
/** conmon answers within a millisecond or two; one that hangs is left alone until it does. */
const reopenMs = 10_000;
const reopenPollMs = 5;
/** An earlier agent may have told conmon just before it died; told twice, it would throw the new file's lines away. */
const settleMs = 1_000;
/** conmon, control.c: begin the log anew. The two numbers are for other commands. */
const reopenCommand = '2 0 0\n';

export class LogRotation {
  readonly #limits: LogLimits;
  readonly #logger: Logger;
  readonly #live: () => Iterable<ContainerFolders>;
  readonly #timer: NodeJS.Timeout;
  /** Containers with a rotation under way, by their folder. */
  readonly #busy = new Map<string, Promise<void>>();
  #closed = false;

  /** `live`: containers whose output may grow. */
  constructor(limits: LogLimits, live: () => Iterable<ContainerFolders>, logger: Logger) {
    this.#limits = limits;
    this.#live = live;
    this.#logger = logger;
    this.#timer = setInterval(() => {
      for (const folders of live()) this.#check(folders);
    }, checkMs);
  }

  /** Once, when the agent has found what its predecessor left: one that died in the midst of a rotation is helped out. */
  async recover(): Promise<void> {
    const without: ContainerFolders[] = [];
    for (const folders of this.#live()) if ((await sizeOf(folders.log)) === undefined) without.push(folders);
    if (without.length === 0) return;
    await sleep(settleMs);
    for (const folders of without) {
      if ((await sizeOf(folders.log)) !== undefined) continue;
      const control = await openControl(folders);
      try {
        await control?.write(reopenCommand);
      } finally {
        await control?.close();
      }
    }
  }

  /** Waits for what is under way: a rotation cut in half would leave its container without a log. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await Promise.all(this.#busy.values());
  }

  #check(folders: ContainerFolders): void {
    if (this.#closed || this.#busy.has(folders.folder) || !this.#isLarge(folders)) return;
    const work = this.#rotate(folders)
      .catch((error: unknown) => {
        this.#logger.warn({ folder: folders.folder, error: describeError(error) }, 'a log could not be rotated');
      })
      .finally(() => this.#busy.delete(folders.folder));
    this.#busy.set(folders.folder, work);
  }

  /** Of every container, four times a second: a file that is open for writing is told of from memory, no other thread is needed. */
  #isLarge(folders: ContainerFolders): boolean {
    const size = statSync(folders.log, { throwIfNoEntry: false })?.size;
    return size !== undefined && size > this.#limits.maxFileBytes;
  }

  async #rotate(folders: ContainerFolders): Promise<void> {
    const control = await openControl(folders);
    // Nobody writes any more.
    if (control === undefined) return;
    try {
      const files = await listLogFiles([folders.folder]);
      const number = files.at(-1)?.number ?? 1;
      await rename(folders.log, join(folders.folder, rotatedName(number)));
      await control.write(reopenCommand);
      const kept = files.filter(({ path }) => rotatedNumber(basename(path)) !== undefined);
      const superfluous = kept.slice(0, Math.max(0, kept.length + 2 - this.#limits.maxFiles));
      for (const { path } of superfluous) await rm(path, { force: true });
      await appeared(folders.log);
    } finally {
      await control.close();
    }
  }
}

/** Undefined when conmon does not listen: it has ended, and so has its container, or soon will. */
async function openControl(folders: ContainerFolders): Promise<FileHandle | undefined> {
  const path = join(folders.bundle, 'ctl');
  return open(path, constants.O_WRONLY | constants.O_NONBLOCK).catch(() => undefined);
}

async function appeared(path: string): Promise<void> {
  const deadline = performance.now() + reopenMs;
  while ((await sizeOf(path)) === undefined && performance.now() < deadline) await sleep(reopenPollMs);
}

const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
