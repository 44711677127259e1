/** Configs and secrets as files in memory, one folder a task; each content is fetched once while some task has it. */
import { chmod, chown, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { backoffMs } from '../../proto/base/backoff.ts';
import type { BackoffPolicy } from '../../proto/base/backoff.ts';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { ErrorCode } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { pause } from '../../proto/base/pause.ts';
import type { AssignedTask } from '../../proto/domain/assignment.ts';
import { contentIdsOfTemplate } from '../../proto/domain/content.ts';
import type { FetchedContent } from '../../proto/domain/content.ts';
import type { FileMount } from '../../proto/domain/mount.ts';
import { uniqueName } from '../host/durable-file.ts';
import { defaultMemoryBytes, MemoryFolder } from './memory-folder.ts';
import type { BoundFile, TaskContents, WaitOptions } from './ports.ts';

export interface TaskContentsOptions {
  /** Below the agent's run folder. */
  readonly folder: string;
  /** Asks the controller, which answers as many as it likes, at least one. @throws FrotaError. */
  readonly fetch: (ids: readonly string[], signal: AbortSignal) => Promise<readonly FetchedContent[]>;
  readonly random: () => number;
  readonly logger: Logger;
  /** Default: `defaultMemoryBytes`. */
  readonly maxBytes?: number;
}

const defaultMode = 0o444;
/** A controller that restarts is back within a second; one that is away longer is asked every few. */
const retry: BackoffPolicy = { firstMs: 200, factor: 2, maxMs: 5_000 };
/** What may pass by itself. `forbidden`: the task is being withdrawn, and the agent has yet to hear of it. */
const passing: ReadonlySet<ErrorCode> = new Set(['unavailable', 'deadline', 'conflict', 'forbidden']);
/** Begins the name of a file that is not whole yet. */
const temporaryPrefix = '.new-';

/** Finds again what an earlier agent left in memory. */
export async function createTaskContents(options: TaskContentsOptions): Promise<TaskContents> {
  const contents = new MemoryContents(options);
  await contents.open();
  return contents;
}

class MemoryContents implements TaskContents {
  readonly #options: TaskContentsOptions;
  readonly #memory: MemoryFolder;
  /** By task: its files that are whole, by content id. */
  readonly #held = new Map<string, Map<string, string>>();
  /** One at a time: who comes second finds what the first has fetched, and nothing is unmounted under anybody. */
  readonly #turn = pLimit(1);

  constructor(options: TaskContentsOptions) {
    this.#options = options;
    this.#memory = new MemoryFolder(options.folder, options.maxBytes ?? defaultMemoryBytes, options.logger);
  }

  async open(): Promise<void> {
    if (!(await this.#memory.isMounted())) return;
    for (const taskId of await namesIn(this.#tasks)) {
      const folder = join(this.#tasks, taskId);
      const whole = (await namesIn(folder)).filter((name) => !name.startsWith(temporaryPrefix));
      this.#held.set(taskId, new Map(whole.map((name) => [contentIdOf(name), join(folder, name)])));
    }
  }

  async prepare(task: AssignedTask, { signal, onWait }: WaitOptions): Promise<readonly BoundFile[]> {
    if (task.template.files.length === 0) return [];
    for (let failures = 0; ; failures += 1) {
      if (signal.aborted) throw new FrotaError('cancelled', 'no longer wanted');
      try {
        return await this.#turn(() => this.#provide(task, signal));
      } catch (thrown) {
        const error = FrotaError.from(thrown);
        if (!passing.has(error.code)) throw error;
        onWait(`waiting for its configs and secrets: ${describeError(error)}`);
        await pause(backoffMs(retry, failures, this.#options.random()), signal);
      }
    }
  }

  async remove(taskId: string): Promise<void> {
    await this.#turn(async () => {
      if (!this.#held.has(taskId)) return;
      await rm(join(this.#tasks, taskId), { recursive: true, force: true });
      if (this.#held.size === 1) await this.#memory.unmount();
      this.#held.delete(taskId);
    });
  }

  list(): Promise<readonly string[]> {
    return Promise.resolve([...this.#held.keys()]);
  }

  get #tasks(): string {
    return join(this.#memory.path, 'tasks');
  }

  async #provide({ id, template }: AssignedTask, signal: AbortSignal): Promise<readonly BoundFile[]> {
    const folder = join(this.#tasks, id);
    await this.#memory.mount();
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const held = this.#held.get(id) ?? new Map<string, string>();
    this.#held.set(id, held);
    const bytes = await this.#gather([...new Set(contentIdsOfTemplate(template))], signal);
    const bound: BoundFile[] = [];
    for (const [index, file] of template.files.entries()) {
      const source = join(folder, `${String(index)}-${file.contentId}`);
      await this.#write(folder, source, bytes.get(file.contentId) ?? new Uint8Array(), file);
      held.set(file.contentId, source);
      bound.push({ source, target: file.target });
    }
    return bound;
  }

  /** The bytes of each content: from a file that some task has, else from the controller. */
  async #gather(ids: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, Uint8Array>> {
    const bytes = new Map<string, Uint8Array>();
    for (const id of ids) {
      const path = this.#pathOf(id);
      // Whatever became of a file that should be there, the controller has it, too.
      const found = path === undefined ? undefined : await readFile(path).catch(() => undefined);
      if (found !== undefined) bytes.set(id, found);
    }
    for (;;) {
      const missing = ids.filter((id) => !bytes.has(id));
      if (missing.length === 0) return bytes;
      for (const id of missing) checkId(id);
      const fetched = await this.#options.fetch(missing, signal);
      if (!fetched.some(({ id }) => missing.includes(id)))
        throw new FrotaError('unavailable', 'the controller answered without any of them');
      for (const content of fetched) bytes.set(content.id, content.bytes);
    }
  }

  #pathOf(contentId: string): string | undefined {
    for (const held of this.#held.values()) {
      const path = held.get(contentId);
      if (path !== undefined) return path;
    }
    return undefined;
  }

  /** Whole under its name, with its owner and mode, or not there. */
  async #write(folder: string, path: string, bytes: Uint8Array, file: FileMount): Promise<void> {
    const temporary = join(folder, `${temporaryPrefix}${uniqueName()}`);
    try {
      await writeFile(temporary, bytes, { mode: 0o600, flag: 'wx' });
      await chown(temporary, file.uid ?? 0, file.gid ?? 0);
      // After the owner: a change of it takes set-id bits away.
      await chmod(temporary, file.mode ?? defaultMode);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      const limit = String(this.#memory.maxBytes / 1024 / 1024);
      throw new FrotaError('exhausted', `no room for ${file.kind} ${file.name}: a node keeps ${limit} MiB of them`, {
        cause: error,
      });
    }
  }
}

/** It becomes part of a file's name. */
function checkId(id: string): void {
  if (/^[a-z]+-[0-9a-f]{64}$/.test(id)) return;
  throw new FrotaError('unsupported', `"${id.slice(0, 80)}" is no id of a config or secret that this version knows`);
}

/** `INDEX-ID`. */
const contentIdOf = (name: string): string => name.slice(name.indexOf('-') + 1);

const namesIn = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => []);
