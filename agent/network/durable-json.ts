/** Small records that survive a power cut: whole or not at all. */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';

/** Temporary file, fsync, rename, fsync of the folder: a reader sees the old record or the new one. One writer at a time. */
export async function writeJsonDurably(path: string, value: unknown): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(JSON.stringify(value));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The record, or undefined when there is none. @throws FrotaError `corrupt` when it is no JSON. */
export async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw FrotaError.from(error, 'unavailable');
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new FrotaError(
      'corrupt',
      `${path} is not JSON; stop the node's containers, remove the file, start the agent`,
      {
        cause: error,
      },
    );
  }
}
