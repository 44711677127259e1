/**
 * A folder or file within a volume, for a mount. Whoever shares the volume may change it at any time, so the path is opened
 * part by part, no symlink is followed, and what was opened is bound to a place that nobody else can reach.
 */
import { constants } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import { run } from '../host/programs.ts';

/** open(2): takes hold of a place without opening what is there. Node has no word for it. */
const openPathOnly = 0o10000000;

/** Binds `subpath` of the folder `volume` to `place`. @throws FrotaError `not-found`, `invalid`; it names the part. */
export async function bindSubpath(volume: string, subpath: string, place: string): Promise<void> {
  const hold = await openWithin(volume, subpath);
  try {
    const isFolder = (await hold.stat()).isDirectory();
    await mkdir(isFolder ? place : dirname(place), { recursive: true, mode: 0o700 });
    if (!isFolder) await writeFile(place, '', { flag: 'wx', mode: 0o600 });
    // Not made canonical: by the name that stands behind the descriptor mount(8) would look the path up anew.
    const held = `/proc/${String(process.pid)}/fd/${String(hold.fd)}`;
    await run('mount', ['--no-canonicalize', '--bind', held, place]);
  } finally {
    await hold.close();
  }
}

async function openWithin(volume: string, subpath: string): Promise<FileHandle> {
  let hold = await open(volume, openPathOnly | constants.O_DIRECTORY);
  const seen: string[] = [];
  try {
    for (const part of subpath.split('/')) {
      if (part === '' || part === '.') continue;
      seen.push(part);
      const next = await openPart(hold, part, seen.join('/'));
      await hold.close();
      hold = next;
    }
    return hold;
  } catch (error) {
    await hold.close();
    throw error;
  }
}

async function openPart(folder: FileHandle, part: string, path: string): Promise<FileHandle> {
  if (part === '..') throw new FrotaError('invalid', `subpath "${path}" leads out of the volume`);
  let hold: FileHandle;
  try {
    hold = await open(`/proc/self/fd/${String(folder.fd)}/${part}`, openPathOnly | constants.O_NOFOLLOW);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const what = code === 'ENOTDIR' ? 'no folder' : 'not there; make it first';
    throw new FrotaError('not-found', `subpath "${path}" is ${what}`, { cause });
  }
  if (!(await hold.stat()).isSymbolicLink()) return hold;
  await hold.close();
  throw new FrotaError('invalid', `subpath "${path}" is a symlink, which might lead out of the volume`);
}
