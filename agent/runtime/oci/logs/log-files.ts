/**
 * A container's log: `log`, into which conmon writes, and what was rotated away, `log.N`, the higher the newer. Names are
 * never given twice and never change, so a listing is right whenever it is made. Once the container is removed they lie
 * in another folder, under the same names.
 */
import { open, readdir, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

export interface LogFile {
  /** Its place in the order; of `log` itself, the next that a rotation gives. */
  readonly number: number;
  readonly path: string;
}

export const currentName = 'log';
export const rotatedName = (number: number): string => `${currentName}.${String(number)}`;

/** The number in `log.N`; undefined for any other name. */
export function rotatedNumber(name: string): number | undefined {
  const match = /^log\.([1-9]\d{0,14})$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** Oldest first. `folders` in the order in which files move through them: one that moves meanwhile is seen at least once. */
export async function listLogFiles(folders: readonly string[]): Promise<readonly LogFile[]> {
  const rotated = new Map<number, string>();
  let current: string | undefined;
  for (const folder of folders) {
    for (const name of await readdir(folder).catch(() => [])) {
      const number = rotatedNumber(name);
      if (number !== undefined) rotated.set(number, join(folder, name));
      else if (name === currentName) current = join(folder, name);
    }
  }
  const files = [...rotated].map(([number, path]) => ({ number, path })).sort((a, b) => a.number - b.number);
  const next = (files.at(-1)?.number ?? 0) + 1;
  return current === undefined ? files : [...files, { number: next, path: current }];
}

/** Undefined if it is gone: rotated, moved or dropped since it was listed. */
export const openLogFile = (path: string): Promise<FileHandle | undefined> => open(path, 'r').catch(() => undefined);

/** The end of a file, at most so many bytes of it; empty if it is gone. */
export async function readEnd(path: string, bytes: number): Promise<{ readonly end: Buffer; readonly whole: boolean }> {
  const file = await openLogFile(path);
  if (file === undefined) return { end: Buffer.alloc(0), whole: true };
  try {
    const { size } = await file.stat();
    const wanted = Math.min(size, bytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(wanted), 0, wanted, size - wanted);
    return { end: buffer.subarray(0, bytesRead), whole: wanted === size };
  } finally {
    await file.close();
  }
}
