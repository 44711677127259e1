/**
 * The agent's durable memory: one small JSON file a record, replaced atomically and fsynced. What is in it survives
 * SIGKILL and power loss whole or not at all.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { temporarySuffix, writeFileDurably } from '../host/durable-file.ts';

export type RecordKind = 'self' | 'units' | 'tasks';

export interface JournalRecord {
  readonly id: string;
  readonly value: unknown;
}

export interface Journal {
  /** Durable when it resolves. @throws FrotaError `exhausted` when the disk is full: the earlier value is kept. */
  put(kind: RecordKind, id: string, value: unknown): Promise<void>;
  delete(kind: RecordKind, id: string): Promise<void>;
  /** Every readable record; an unreadable file is logged, set aside with the suffix `.corrupt` and left out. */
  load(kind: RecordKind): Promise<readonly JournalRecord[]>;
}

export function createJournal(directory: string, logger: Logger): Journal {
  const folder = (kind: RecordKind): string => join(directory, kind);
  const path = (kind: RecordKind, id: string): string => join(folder(kind), `${fileName(id)}.json`);
  // Two writes of one record must not overtake each other.
  const tails = new Map<string, Promise<void>>();

  async function serial(key: string, work: () => Promise<void>): Promise<void> {
    const before = tails.get(key) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(work);
    tails.set(key, mine);
    try {
      await mine;
    } finally {
      if (tails.get(key) === mine) tails.delete(key);
    }
  }

  return {
    put: (kind, id, value) =>
      serial(path(kind, id), async () => {
        await writeFileDurably(path(kind, id), JSON.stringify({ id, value }));
      }),
    delete: (kind, id) =>
      serial(path(kind, id), async () => {
        await rm(path(kind, id), { force: true });
      }),
    load: (kind) => loadFolder(folder(kind), logger),
  };
}

/** Ids hold `/` and `:`; a short digest keeps the file name safe and bounded, the record itself holds the id. */
function fileName(id: string): string {
  return /^[A-Za-z0-9_-]{1,64}$/.test(id) ? id : createHash('sha256').update(id).digest('hex').slice(0, 32);
}

async function loadFolder(folder: string, logger: Logger): Promise<readonly JournalRecord[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new FrotaError('internal', `cannot read ${folder}`, { cause: error });
  });
  const records: JournalRecord[] = [];
  for (const name of names.sort()) {
    const path = join(folder, name);
    if (name.endsWith(temporarySuffix)) await rm(path, { force: true });
    if (!name.endsWith('.json')) continue;
    try {
      const parsed = JSON.parse(await readFile(path, 'utf8')) as JournalRecord;
      if (typeof parsed.id !== 'string' || parsed.value === undefined) throw new Error('no id or value');
      records.push(parsed);
    } catch (error) {
      logger.error({ path, error: String(error) }, 'journal record is unreadable; set aside');
      await rename(path, `${path}.corrupt`);
    }
  }
  return records;
}
