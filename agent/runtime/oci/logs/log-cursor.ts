/** A place in a container's log that only moves on, across rotations, removals and whatever conmon does with its file. */
import type { FileHandle } from 'node:fs/promises';
import { listLogFiles, openLogFile, type LogFile } from './log-files.ts';

/** Where the log ended at some moment. */
export interface LogEnd {
  readonly inode: number;
  readonly size: number;
}

interface Place {
  readonly handle: FileHandle;
  readonly inode: number;
  /** What `LogFile.number` was when it was opened. */
  readonly number: number;
  offset: number;
}

export class LogCursor {
  readonly #folders: readonly string[];
  readonly #limit: LogEnd | undefined;
  /** Where to begin; then undefined. */
  #start: { readonly number: number; readonly offset: number } | undefined;
  #place: Place | undefined;

  /** `start`: absent, the oldest there is. `limit`: nothing behind it is read. */
  constructor(folders: readonly string[], start: { number: number; offset: number } | undefined, limit?: LogEnd) {
    this.#folders = folders;
    this.#start = start;
    this.#limit = limit;
  }

  /** The next bytes; 0 when there are none now. */
  async read(buffer: Buffer): Promise<number> {
    for (;;) {
      const read = await this.#readHere(buffer);
      if (read > 0 || this.#atLimit()) return read;
      const next = await this.#newer();
      if (next === undefined) return 0;
      // Whoever sees the newer file has the older one whole: conmon makes the one, then writes nothing into the other.
      const late = await this.#readHere(buffer);
      if (late > 0) return late;
      await this.close();
      this.#place = next;
    }
  }

  /** Whether the present file has grown since the last read. */
  async hasMore(): Promise<boolean> {
    return this.#place !== undefined && (await this.#place.handle.stat()).size > this.#place.offset;
  }

  async close(): Promise<void> {
    const place = this.#place;
    this.#place = undefined;
    await place?.handle.close();
  }

  async #readHere(buffer: Buffer): Promise<number> {
    const place = this.#place;
    if (place === undefined) return 0;
    const room = place.inode === this.#limit?.inode ? Math.max(0, this.#limit.size - place.offset) : buffer.length;
    if (room === 0) return 0;
    const { bytesRead } = await place.handle.read(buffer, 0, Math.min(room, buffer.length), place.offset);
    place.offset += bytesRead;
    return bytesRead;
  }

  #atLimit(): boolean {
    return this.#limit !== undefined && this.#place?.inode === this.#limit.inode;
  }

  /** The file that follows the present one, opened. */
  async #newer(): Promise<Place | undefined> {
    const files = await listLogFiles(this.#folders);
    const opened: Place[] = [];
    try {
      for (const file of files.toReversed()) {
        const place = await openPlace(file);
        if (place === undefined) continue;
        // Newest first: what was opened before the present one is met is newer than it.
        if (this.#isPassed(place)) {
          await place.handle.close();
          break;
        }
        opened.push(place);
      }
      const next = opened.pop();
      if (next !== undefined && this.#start?.number === next.number) next.offset = this.#start.offset;
      if (next !== undefined) this.#start = undefined;
      return next;
    } finally {
      await Promise.all(opened.map(({ handle }) => handle.close()));
    }
  }

  /** A number alone says little: the present file has got its own at a rotation, or conmon has begun another one. */
  #isPassed({ inode, number }: Place): boolean {
    if (this.#place !== undefined) return inode === this.#place.inode || number < this.#place.number;
    return this.#start !== undefined && number < this.#start.number;
  }
}

async function openPlace({ number, path }: LogFile): Promise<Place | undefined> {
  const handle = await openLogFile(path);
  if (handle === undefined) return undefined;
  try {
    return { handle, inode: (await handle.stat()).ino, number, offset: 0 };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Where the log ends now; undefined if there is none. */
export async function logEnd(folders: readonly string[]): Promise<LogEnd | undefined> {
  const last = (await listLogFiles(folders)).at(-1);
  const handle = last === undefined ? undefined : await openLogFile(last.path);
  if (handle === undefined) return undefined;
  try {
    const { ino, size } = await handle.stat();
    return { inode: ino, size };
  } finally {
    await handle.close();
  }
}
