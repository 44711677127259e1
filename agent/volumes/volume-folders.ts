/** The folders of this node's volumes. One under its name is whole: it is made beside it, flushed, and renamed. */
import { mkdir, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { isResourceName } from '../../proto/domain/validate-parts.ts';
import { diskError, flushDirectory, uniqueName } from '../host/durable-file.ts';
import { orNoRoom } from '../host/room.ts';
import { run } from '../host/programs.ts';
import { removeTree } from '../host/remove-tree.ts';
import { unmountBelow } from '../host/unmount.ts';
import { copyFromImage } from './image-copy.ts';
import type { ImagePath } from './image-copy.ts';

/** Volumes' names begin with a letter or digit, so nothing of these is one. */
const makingPrefix = '.new-';
const goingPrefix = '.gone-';
const imagePrefix = '.image-';
const tasksFolder = '.tasks';
const contentFolder = '_data';
/** Flushing a file system waits for everybody's writes to it, on slow disks for many seconds. */
const flushTimeoutMs = 120_000;

export class VolumeFolders {
  readonly #root: string;
  readonly #logger: Logger;
  /** By folder: two tasks that want one new volume make it once. */
  readonly #turns = new Map<string, Promise<unknown>>();

  /** `root`: all volumes lie in it. */
  constructor(root: string, logger: Logger) {
    this.#root = root;
    this.#logger = logger;
  }

  /** The content of a named volume, made if it is not there. `from`: what a new one begins with; absent: nothing. */
  async named(name: string, from: ImagePath | undefined, signal: AbortSignal): Promise<string> {
    if (!isResourceName(name)) throw new FrotaError('invalid', `${JSON.stringify(name)} is no name of a volume`);
    return await this.#ensure(join(this.#root, name), from, { signal, durable: true });
  }

  /** The content of the task's anonymous volume with this number. */
  async anonymous(taskId: string, index: number, from: ImagePath | undefined, signal: AbortSignal): Promise<string> {
    const folder = join(this.#root, tasksFolder, taskId, String(index));
    return await this.#ensure(folder, from, { signal, durable: false });
  }

  async removeAnonymous(taskId: string): Promise<void> {
    await this.#removeFolder(join(this.#root, tasksFolder, taskId));
  }

  async tasksWithAnonymous(): Promise<readonly string[]> {
    return await namesIn(join(this.#root, tasksFolder));
  }

  /** What a crash left half-made or half-removed. */
  async sweep(): Promise<void> {
    for (const name of await namesIn(this.#root)) {
      if (![makingPrefix, goingPrefix, imagePrefix].some((prefix) => name.startsWith(prefix))) continue;
      try {
        await unmountBelow(join(this.#root, name));
        await removeTree(join(this.#root, name));
      } catch (error) {
        this.#logger.warn({ name, error: describeError(error) }, 'what a crash left of a volume could not be removed');
      }
    }
  }

  async #ensure(
    folder: string,
    from: ImagePath | undefined,
    options: { readonly signal: AbortSignal; readonly durable: boolean },
  ): Promise<string> {
    const content = join(folder, contentFolder);
    await this.#inTurn(folder, async () => {
      if (await exists(content)) return;
      await this.#make(folder, from, options);
    });
    return content;
  }

  async #make(
    folder: string,
    from: ImagePath | undefined,
    { signal, durable }: { readonly signal: AbortSignal; readonly durable: boolean },
  ): Promise<void> {
    const making = join(this.#root, `${makingPrefix}${uniqueName()}`);
    const content = join(making, contentFolder);
    try {
      await mkdir(making, { recursive: true, mode: 0o700 });
      const copied = from !== undefined && (await copyFromImage(from, content, this.#root, signal));
      // Containers' users enter it by way of a mount, never through the folders above, which are the agent's.
      if (!copied) await mkdir(content, { mode: 0o755 });
      if (durable && copied) await run('sync', ['-f', making], { timeoutMs: flushTimeoutMs });
      await mkdir(dirname(folder), { recursive: true, mode: 0o700 });
      await rename(making, folder);
      if (durable) await flushDirectory(dirname(folder));
    } catch (error) {
      const told = await orNoRoom(await diskError(error, folder), this.#root);
      await removeTree(making).catch(() => undefined);
      throw told;
    }
  }

  /** Away from its name first, so that a crash in the midst of it leaves no half volume. */
  async #removeFolder(folder: string): Promise<void> {
    await this.#inTurn(folder, async () => {
      const going = join(this.#root, `${goingPrefix}${uniqueName()}`);
      try {
        await rename(folder, going);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
        throw error;
      }
      await removeTree(going);
    });
  }

  async #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(key) ?? Promise.resolve()).catch(() => undefined).then(work);
    this.#turns.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    }
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const namesIn = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => []);
