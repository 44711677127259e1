/** The mounts of this node's tasks: each kind made its own way, told with node, service and path when it can't be. */
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { AssignedTask } from '../../proto/domain/assignment.ts';
import type { Mount } from '../../proto/domain/mount.ts';
import { unmountBelow } from '../host/unmount.ts';
import type { Image } from '../images/images.ts';
import type { ContainerMount } from '../runtime/runtime.ts';
import type { PreparedMounts, Volumes } from './ports.ts';
import { bindSubpath } from './subpath.ts';
import { VolumeFolders } from './volume-folders.ts';

export interface NodeVolumesOptions {
  /** The agent's data folder. */
  readonly dataDir: string;
  /** The agent's run folder. */
  readonly runDir: string;
  /** For messages. */
  readonly nodeName: string;
  readonly logger: Logger;
}

const defaultTmpfsMode = 0o1777;
/** Paths that an image declares as volumes: it is trusted for nothing, and each costs a folder and a mount. */
const maxImageVolumes = 64;

export function createNodeVolumes(options: NodeVolumesOptions): Volumes {
  return new NodeVolumes(options);
}

class NodeVolumes implements Volumes {
  readonly #nodeName: string;
  readonly #logger: Logger;
  readonly #folders: VolumeFolders;
  /** One folder a task, with what is bound for the moment in which its container is made. */
  readonly #held: string;

  constructor({ dataDir, runDir, nodeName, logger }: NodeVolumesOptions) {
    this.#nodeName = nodeName;
    this.#logger = logger;
    this.#folders = new VolumeFolders(join(dataDir, 'volumes'), logger);
    this.#held = join(runDir, 'subpaths');
  }

  async prepare(task: AssignedTask, image: Image, signal: AbortSignal): Promise<PreparedMounts> {
    const wanted = [...task.template.mounts, ...imageVolumes(task, image)];
    const held = join(this.#held, task.id);
    const holds = wanted.some((mount) => mount.kind === 'volume' && mount.subpath !== undefined);
    const settle = async (): Promise<void> => {
      if (holds) await this.#release(held);
    };
    try {
      // What an earlier try held.
      await settle();
      const mounts: ContainerMount[] = [];
      for (const [index, mount] of wanted.entries()) {
        mounts.push(await this.#make(mount, { task, image, signal, index, place: join(held, String(index)) }));
      }
      return { mounts, settle };
    } catch (error) {
      await settle();
      throw error;
    }
  }

  remove(taskId: string): Promise<void> {
    return this.#folders.removeAnonymous(taskId);
  }

  list(): Promise<readonly string[]> {
    return this.#folders.tasksWithAnonymous();
  }

  async sweep(): Promise<void> {
    await unmountBelow(this.#held);
    await rm(this.#held, { recursive: true, force: true });
    await this.#folders.sweep();
  }

  /** Never throws: what is held for too long harms nobody, and goes at the agent's next start. */
  async #release(held: string): Promise<void> {
    try {
      await unmountBelow(held);
      await rm(held, { recursive: true, force: true });
    } catch (error) {
      this.#logger.warn({ held, error: describeError(error) }, 'what was held for a container could not be let go');
    }
  }

  async #make(mount: Mount, about: MakeInput): Promise<ContainerMount> {
    try {
      switch (mount.kind) {
        case 'volume':
          return await this.#makeVolume(mount, about);
        case 'bind':
          return await bindOf(mount);
        case 'tmpfs': {
          const { target, readOnly, sizeBytes, mode = defaultTmpfsMode } = mount;
          return { kind: 'tmpfs', target, readOnly, mode, ...(sizeBytes === undefined ? {} : { sizeBytes }) };
        }
      }
    } catch (thrown) {
      const error = FrotaError.from(thrown, 'unavailable');
      if (about.signal.aborted) throw error;
      const { stack, service } = about.task;
      const where = `node ${this.#nodeName}, service ${stack}/${service}, mount at ${mount.target}`;
      throw new FrotaError(error.code, `${where}: ${describeError(error)}`, { cause: error });
    }
  }

  async #makeVolume(mount: VolumeMount, { task, image, signal, index, place }: MakeInput): Promise<ContainerMount> {
    const { volume, target, readOnly, noCopy, subpath } = mount;
    const from = noCopy ? undefined : { lowerDirs: image.lowerDirs, path: target };
    const content =
      volume === undefined
        ? await this.#folders.anonymous(task.id, index, from, signal)
        : await this.#folders.named(volume, from, signal);
    if (subpath === undefined) return { kind: 'bind', source: content, target, readOnly };
    await bindSubpath(content, subpath, place);
    return { kind: 'bind', source: place, target, readOnly };
  }
}

type VolumeMount = Extract<Mount, { kind: 'volume' }>;

interface MakeInput {
  readonly task: AssignedTask;
  readonly image: Image;
  readonly signal: AbortSignal;
  /** Its place among the task's mounts, which never change. */
  readonly index: number;
  /** Where something can be held for it. */
  readonly place: string;
}

async function bindOf(mount: Extract<Mount, { kind: 'bind' }>): Promise<ContainerMount> {
  const { source, target, readOnly, createSource } = mount;
  const isThere = await stat(source).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    },
  );
  if (!isThere) {
    if (!createSource) throw new FrotaError('not-found', `${source} does not exist on this node; make it there first`);
    await mkdir(source, { recursive: true, mode: 0o755 });
  }
  return { kind: 'bind', source, target, readOnly };
}

/** Anonymous volumes for the paths that the image declares and the service mounts nothing at. */
function imageVolumes({ template }: AssignedTask, image: Image): readonly VolumeMount[] {
  const paths = image.config.volumes ?? [];
  if (paths.length > maxImageVolumes) {
    throw new FrotaError('exhausted', `the image declares ${String(paths.length)} volumes, which is too many`);
  }
  const taken = new Set([...template.mounts, ...template.files].map(({ target }) => plainPath(target)));
  return [...new Set(paths.map(plainPath))]
    .filter((path) => !taken.has(path))
    .map((target) => ({ kind: 'volume', target, readOnly: false, noCopy: false }));
}

/** `/a//b/./c/` and `/a/b/c` are one place. */
const plainPath = (path: string): string =>
  `/${path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')}`;
