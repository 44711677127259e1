/** Small records that survive a power cut: whole or not at all. */
import { readFile } from 'node:fs/promises';
import { FrotaError } from '../../proto/base/errors.ts';
import { writeFileDurably } from '../host/durable-file.ts';

/** A reader sees the old record or the new one. */
export async function writeJsonDurably(path: string, value: unknown): Promise<void> {
  await writeFileDurably(path, JSON.stringify(value));
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
