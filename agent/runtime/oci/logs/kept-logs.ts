/** Logs of containers that are removed: of each slot the last few, and of the node as a whole no more than fits. */
import { mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError } from '../../../../proto/base/errors.ts';
import type { Logger } from '../../../../proto/base/log.ts';
import { temporarySuffix } from '../../../host/durable-file.ts';
import { isContainerId } from '../folders.ts';
import { listLogFiles } from './log-files.ts';

export interface KeptLimits {
  /** Ended tasks of one slot. */
  readonly perSlot: number;
  /** Of all of them together. */
  readonly totalBytes: number;
  readonly ageMs: number;
}

/** Four attempts tell how a slot came to fail; what the node keeps beyond its containers must not fill its disk. */
export const defaultKeptLimits: KeptLimits = {
  perSlot: 4,
  totalBytes: 512 * 1024 * 1024,
  ageMs: 7 * 24 * 60 * 60 * 1_000,
};
/** What is old goes also where nothing ends any more. */
const pruneMs = 10 * 60 * 1_000;

interface Kept {
  readonly slot: string;
  readonly keptAtMs: number;
  readonly bytes: number;
}

/** Written before the first file comes, so that a folder without it is nobody's. */
const recordName = 'kept.json';

export class KeptLogs {
  readonly #root: string;
  readonly #limits: KeptLimits;
  readonly #logger: Logger;
  readonly #kept = new Map<string, Kept>();
  readonly #timer: NodeJS.Timeout;
  #work: Promise<void>;

  constructor(root: string, limits: KeptLimits, logger: Logger) {
    this.#root = root;
    this.#limits = limits;
    this.#logger = logger;
    this.#work = this.#load();
    this.#timer = setInterval(() => {
      this.#work = this.#work.then(() => this.#prune());
    }, pruneMs);
  }

  /** Where the log of a removed container lies, if it was kept. */
  folder(id: string): string {
    return join(this.#root, id);
  }

  /** Takes the log over from the container's folder. Never throws: without room for a log its container goes all the same. */
  async keep(id: string, slot: string, from: string): Promise<void> {
    const work = this.#work.then(() => this.#take(id, slot, from)).then(() => this.#prune());
    this.#work = work.catch((error: unknown) => {
      this.#logger.warn({ container: id, error: describeError(error) }, 'the log of an ended container is not kept');
    });
    await this.#work;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#work;
  }

  async #take(id: string, slot: string, from: string): Promise<void> {
    const files = await listLogFiles([from]);
    if (files.length === 0) return;
    const folder = this.folder(id);
    const record = { slot, keptAtMs: Date.now() };
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const temporary = join(folder, `${recordName}${temporarySuffix}`);
    await writeFile(temporary, JSON.stringify(record));
    await rename(temporary, join(folder, recordName));
    for (const { path } of files) await rename(path, join(folder, path.slice(from.length + 1)));
    this.#kept.set(id, { ...record, bytes: await bytesOf(folder) });
  }

  async #prune(): Promise<void> {
    const { perSlot, totalBytes, ageMs } = this.#limits;
    const oldestMs = Date.now() - ageMs;
    const ofSlot = new Map<string, number>();
    let bytes = 0;
    const newestFirst = [...this.#kept].sort(([, a], [, b]) => b.keptAtMs - a.keptAtMs);
    for (const [id, kept] of newestFirst) {
      const count = (ofSlot.get(kept.slot) ?? 0) + 1;
      ofSlot.set(kept.slot, count);
      bytes += kept.bytes;
      if (kept.bytes > 0 && count <= perSlot && bytes <= totalBytes && kept.keptAtMs >= oldestMs) continue;
      bytes -= kept.bytes;
      await this.#drop(id);
    }
  }

  async #drop(id: string): Promise<void> {
    this.#kept.delete(id);
    await rm(this.folder(id), { recursive: true, force: true }).catch((error: unknown) => {
      this.#logger.warn({ container: id, error: describeError(error) }, 'an old log could not be removed');
    });
  }

  async #load(): Promise<void> {
    for (const id of await readdir(this.#root).catch(() => [])) {
      const kept = isContainerId(id) ? await readKept(this.folder(id)) : undefined;
      if (kept === undefined) await this.#drop(id);
      else this.#kept.set(id, kept);
    }
    await this.#prune();
  }
}

async function readKept(folder: string): Promise<Kept | undefined> {
  try {
    const value = JSON.parse(await readFile(join(folder, recordName), 'utf8')) as Partial<Kept>;
    if (typeof value.slot !== 'string' || typeof value.keptAtMs !== 'number') return undefined;
    return { slot: value.slot, keptAtMs: value.keptAtMs, bytes: await bytesOf(folder) };
  } catch {
    return undefined;
  }
}

async function bytesOf(folder: string): Promise<number> {
  const files = await listLogFiles([folder]);
  const sizes = await Promise.all(files.map(({ path }) => stat(path).then(({ size }) => size, () => 0))); // prettier-ignore
  return sizes.reduce((sum, size) => sum + size, 0);
}
