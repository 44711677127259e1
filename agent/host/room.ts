/** How much room a disk has, and what is told when it has none: where, how much is left, what to do. */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';

export interface Room {
  readonly freeBytes: number;
  /** Infinity where the file system has no bound of its own. */
  readonly totalBytes: number;
  /** Files that can still be made; Infinity where they are not counted. */
  readonly freeFiles: number;
}

interface NoRoom {
  /** What nobody but the agent may take. */
  readonly kept?: number;
  readonly cause?: unknown;
}

/** With less than this not even a record can be written, whatever the file system keeps back for itself. */
const nearlyNothingBytes = 64 * 1024;
/** How much may be written between two looks: a look costs a system call, and others write as well. */
const lookEveryBytes = 4 * 1024 * 1024;

/** Of the disk on which `folder` lies, or would lie if it were made. */
export async function roomOf(folder: string): Promise<Room> {
  for (let at = folder; ; at = dirname(at)) {
    try {
      const { bavail, bsize, blocks, files, ffree } = await statfs(at);
      const isBounded = blocks > 0;
      return {
        freeBytes: isBounded ? bavail * bsize : Infinity,
        totalBytes: isBounded ? blocks * bsize : Infinity,
        freeFiles: files > 0 ? ffree : Infinity,
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || at === dirname(at)) {
        throw FrotaError.from(error, 'unavailable');
      }
    }
  }
}

/** There is no room for `what`. Ask while what was begun is still there: afterwards there is room again. */
export async function noRoom(what: string, folder: string, { kept = 0, cause }: NoRoom = {}): Promise<FrotaError> {
  const left = await roomOf(folder).then(roomText, () => 'free room is not known');
  const toKeep = kept === 0 ? '' : `, of which ${megabytes(kept)} are to stay free`;
  const message = `the disk is full: no room for ${what} in ${folder} (${left}${toKeep}); make room there`;
  return new FrotaError('exhausted', message, { cause });
}

/** The error of a program that wrote to `folder`: where there is no room left, that is the reason, whatever it says itself. */
export async function orNoRoom(error: FrotaError, folder: string): Promise<FrotaError> {
  if (error.code === 'exhausted' || error.code === 'cancelled') return error;
  const room = await roomOf(folder).catch(() => undefined);
  if (room === undefined || (room.freeBytes > nearlyNothingBytes && room.freeFiles > 0)) return error;
  const { message } = await noRoom('more', folder);
  return new FrotaError('exhausted', `${message}: ${error.message}`, { cause: error });
}

/** Looks now and then, while something large is written to a disk, whether that has more than `keepFreeBytes` left. */
export class RoomWatch {
  readonly #folder: string;
  readonly #what: string;
  readonly #keepFreeBytes: number;
  #unseenBytes = 0;

  constructor({ folder, what, keepFreeBytes }: { folder: string; what: string; keepFreeBytes: number }) {
    this.#folder = folder;
    this.#what = what;
    this.#keepFreeBytes = keepFreeBytes;
  }

  /** Before so much is written. @throws FrotaError `exhausted` when it would leave less than is to be kept. */
  async expect(bytes: number): Promise<void> {
    const room = await roomOf(this.#folder);
    if (room.freeBytes >= bytes + this.#keepFreeBytes) return;
    const what = bytes === 0 ? this.#what : `the ${megabytes(bytes)} of ${this.#what}`;
    throw await noRoom(what, this.#folder, { kept: this.#keepFreeBytes });
  }

  /** After so much was written. @throws FrotaError `exhausted` */
  async written(bytes: number): Promise<void> {
    this.#unseenBytes += bytes;
    if (this.#unseenBytes < lookEveryBytes) return;
    this.#unseenBytes = 0;
    await this.expect(0);
  }
}

function roomText({ freeBytes, totalBytes, freeFiles }: Room): string {
  if (freeFiles === 0) return 'no more files can be made (no inode is free)';
  if (totalBytes === Infinity) return 'no bound is known';
  return `${megabytes(freeBytes)} of ${megabytes(totalBytes)} are free`;
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
