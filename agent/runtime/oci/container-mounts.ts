/** PURE: everything that is mounted in a container, in the order in which it is: Docker's own mounts, then the spec's. */
import type { ContainerMount, ContainerSpec } from '../runtime.ts';
import type { OciMount } from './oci-spec.ts';

const shmBytes = 64 * 1024 * 1024;

/** A mount of the spec takes the place of a default one, and of a file, with the same target. */
export function containerMounts(
  { mounts, files }: Pick<ContainerSpec, 'mounts' | 'files'>,
  cgroupKind: 'v1' | 'hybrid' | 'v2',
): readonly OciMount[] {
  // The later of two files is the service's own: a config at /etc/hosts wins over the agent's.
  const byTarget = new Map<string, OciMount>();
  for (const file of files) byTarget.set(plainPath(file.target), fileMount(file));
  for (const mount of mounts) byTarget.set(plainPath(mount.target), ociMount(mount));
  const defaults = defaultMounts(cgroupKind).filter(({ destination }) => !byTarget.has(destination));
  // Outer ones first, so that none covers what is mounted within it.
  return [...defaults, ...[...byTarget.values()].sort((a, b) => depth(a.destination) - depth(b.destination))];
}

/** Programs may be run from it: an entry script is a config as good as any. */
function fileMount({ source, target }: ContainerSpec['files'][number]): OciMount {
  const options = ['bind', 'ro', 'rprivate', 'nosuid', 'nodev'];
  return { destination: plainPath(target), type: 'bind', source, options };
}

function ociMount(mount: ContainerMount): OciMount {
  const destination = plainPath(mount.target);
  const access = mount.readOnly ? ['ro'] : ['rw'];
  if (mount.kind === 'bind')
    return { destination, type: 'bind', source: mount.source, options: ['rbind', 'rprivate', ...access] };
  const size = mount.sizeBytes === undefined ? [] : [`size=${String(mount.sizeBytes)}`];
  const options = ['nosuid', 'noexec', 'nodev', 'rprivate', ...access, `mode=${mount.mode.toString(8)}`, ...size];
  return { destination, type: 'tmpfs', source: 'tmpfs', options };
}

/** `/a//b/./c/` and `/a/b/c` are one place. */
const plainPath = (path: string): string =>
  `/${path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')}`;

const depth = (path: string): number => path.split('/').length;

function defaultMounts(cgroupKind: 'v1' | 'hybrid' | 'v2'): readonly OciMount[] {
  const safe = ['nosuid', 'noexec', 'nodev'];
  const mount = (destination: string, type: string, source: string, options: readonly string[]): OciMount => ({
    destination,
    type,
    source,
    options,
  });
  return [
    mount('/proc', 'proc', 'proc', safe),
    mount('/dev', 'tmpfs', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5']),
    mount('/sys', 'sysfs', 'sysfs', [...safe, 'ro']),
    mount('/sys/fs/cgroup', cgroupKind === 'v2' ? 'cgroup2' : 'cgroup', 'cgroup', [...safe, 'relatime', 'ro']),
    mount('/dev/mqueue', 'mqueue', 'mqueue', safe),
    mount('/dev/shm', 'tmpfs', 'shm', [...safe, 'mode=1777', `size=${String(shmBytes)}`]),
  ];
}
