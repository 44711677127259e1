/** Where everything of a container lies on the host. */
import { join } from 'node:path';
import { FrotaError } from '../../../proto/base/errors.ts';

export interface ContainerFolders {
  readonly folder: string;
  /** Written once the container is made; a folder without it is half-made. */
  readonly record: string;
  readonly upper: string;
  readonly work: string;
  /** Where the overlay is mounted. */
  readonly rootfs: string;
  readonly bundle: string;
  /** The container's output (`k8s-file`), as far as it is not rotated away. */
  readonly log: string;
  /** conmon leaves `oom` here, and the exit code once more, without which it never writes the other one: in memory, too. */
  readonly persist: string;
  readonly pidFile: string;
  readonly conmonPidFile: string;
  readonly conmonLog: string;
}

export interface RuntimeFolders {
  readonly containers: string;
  /**
   * conmon puts the exit code of container ID into file ID here. In memory, for the life of this boot only: on the data
   * folder's disk it would be lost whenever that is full.
   */
  readonly exits: string;
  /** What conmon leaves of each container besides, for the life of this boot only. */
  readonly persists: string;
  /** Logs of removed containers, one folder each. */
  readonly keptLogs: string;
  /** One folder `ID.N` for each command that runs in container ID, for the life of this boot only. */
  readonly execs: string;
  /** `--root` of each OCI runtime, for the life of this boot only. */
  runtimeRoot(runtime: string): string;
  container(id: string): ContainerFolders;
  exitFile(id: string): string;
}

/** conmon adds `.` and six characters to the name of an exit file that it is still writing. */
const containerIdPattern = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$/;

/** Whether `name` can be a container's id: a word for file names, cgroups and command lines alike. */
export const isContainerId = (name: string): boolean => containerIdPattern.test(name);

export function runtimeFolders(dataDir: string, runDir: string): RuntimeFolders {
  const containers = join(dataDir, 'containers');
  const exits = join(runDir, 'exits');
  const persists = join(runDir, 'persist');
  return {
    containers,
    exits,
    persists,
    keptLogs: join(dataDir, 'logs'),
    execs: join(runDir, 'execs'),
    runtimeRoot: (runtime) => join(runDir, runtime),
    exitFile: (id) => join(exits, checkId(id)),
    container: (id) => {
      const folder = join(containers, checkId(id));
      return {
        folder,
        record: join(folder, 'record.json'),
        upper: join(folder, 'upper'),
        work: join(folder, 'work'),
        rootfs: join(folder, 'rootfs'),
        bundle: join(folder, 'bundle'),
        log: join(folder, 'log'),
        persist: join(persists, id),
        pidFile: join(folder, 'pid'),
        conmonPidFile: join(folder, 'conmon.pid'),
        conmonLog: join(folder, 'conmon.log'),
      };
    },
  };
}

function checkId(id: string): string {
  if (isContainerId(id)) return id;
  const rule = 'letters, digits, _ and -, 100 at the most, no - first';
  throw new FrotaError('invalid', `${JSON.stringify(id)} can't be a container's id: ${rule}`);
}
