/** What the agent must know of a container after its own death; one small file in the container's folder. */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { diskError, temporarySuffix, writeFileDurably } from '../../host/durable-file.ts';
import type { ProcessIdentity } from '../../host/processes.ts';
import type { ContainerExit } from '../runtime.ts';

export interface ContainerRecord {
  readonly version: 1;
  readonly id: string;
  /** As in `ContainerSpec`; absent in records of earlier versions. */
  readonly slot?: string;
  /** `runc` or `crun`: the one that made it must also start and delete it. */
  readonly runtime: string;
  readonly process: ProcessIdentity;
  readonly conmon: ProcessIdentity;
  /** `starting`: written before the start, so that a crash in between leaves the right `startedAtMs`. */
  readonly phase: 'created' | 'starting' | 'started';
  readonly startedAtMs?: number;
  readonly exit?: ContainerExit;
}

/** Replaces the record; `durable` waits until it would survive a power cut. @throws FrotaError `exhausted` when the disk is full. */
export async function writeRecord(path: string, record: ContainerRecord, durable: boolean): Promise<void> {
  const text = `${JSON.stringify(record)}\n`;
  if (durable) {
    await writeFileDurably(path, text);
    return;
  }
  const temporary = `${path}${temporarySuffix}`;
  try {
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    const told = await diskError(error, path);
    await rm(temporary, { force: true }).catch(() => undefined);
    throw told;
  }
}

/** Undefined if there is none, or none that can be read: the container is then half-made. */
export async function readRecord(path: string): Promise<ContainerRecord | undefined> {
  try {
    const record: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isRecord(record) ? record : undefined;
  } catch {
    return undefined;
  }
}

/** The file is the agent's own; this guards against a cut-off write and a later version, not against an enemy. */
function isRecord(value: unknown): value is ContainerRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Record<string, unknown>;
  return fields.version === 1 && typeof fields.id === 'string' && typeof fields.process === 'object';
}
