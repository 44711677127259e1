/** A folder in memory: a tmpfs of its own, mounted while somebody needs it. */
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import { run } from '../host/programs.ts';

/** Five hundred contents of the largest size: more than a node's addresses let it have tasks. */
export const defaultMemoryBytes = 256 * 1024 * 1024;
/** mount(8): 32 is a mount that failed. */
const mountCodes = [0, 32];
/** umount(8) when nothing is mounted there any more. */
const umountCodes = [0, 1, 32];

export class MemoryFolder {
  readonly path: string;
  readonly maxBytes: number;
  readonly #logger: Logger;

  constructor(path: string, maxBytes: number, logger: Logger) {
    this.path = path;
    this.maxBytes = maxBytes;
    this.#logger = logger;
  }

  /** Looked at each time: nothing may be written below while it is a folder on disk. */
  async isMounted(): Promise<boolean> {
    const [here, above] = await Promise.all([stat(this.path).catch(() => undefined), stat(dirname(this.path))]);
    return here !== undefined && here.dev !== above.dev;
  }

  /** @throws FrotaError `unsupported` when it can't be mounted: nothing is then written anywhere. */
  async mount(): Promise<void> {
    await mkdir(this.path, { recursive: true, mode: 0o700 });
    if (await this.isMounted()) return;
    const options = `size=${String(this.maxBytes)},mode=0700,nosuid,nodev`;
    try {
      // Kernels before 6.4 do not know the option.
      const kept = await this.#mountWith(`${options},noswap`, mountCodes);
      if (kept) return;
      await this.#mountWith(options, [0]);
    } catch (cause) {
      throw new FrotaError('unsupported', 'this node can not keep configs and secrets in memory', { cause });
    }
    if (await swaps()) {
      this.#logger.warn({}, 'this kernel can not keep configs and secrets out of swap: encrypt it, or switch it off');
    }
  }

  /** What is in it is gone. Containers keep the files that are bound into them. */
  async unmount(): Promise<void> {
    if (await this.isMounted()) await run('umount', [this.path], { allowedCodes: umountCodes });
    if (await this.isMounted()) throw new FrotaError('conflict', `${this.path} can't be unmounted: it is in use`);
    await rm(this.path, { recursive: true, force: true });
  }

  async #mountWith(options: string, allowedCodes: readonly number[]): Promise<boolean> {
    const { code } = await run('mount', ['-t', 'tmpfs', '-o', options, 'frota-contents', this.path], { allowedCodes });
    return code === 0;
  }
}

/** `/proc/swaps`: a heading, and a line for each place in use. */
const swaps = async (): Promise<boolean> => (await readFile('/proc/swaps', 'utf8')).trim().split('\n').length > 1;
