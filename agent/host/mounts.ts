/** Mounts of this host, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)). */
import { readFile } from 'node:fs/promises';

export interface Mount {
  readonly mountPoint: string;
  readonly type: string;
  readonly superOptions: readonly string[];
}

/** One entry a line; lines that do not have the format are skipped. Octal escapes in paths are resolved. */
export function parseMountinfo(text: string): readonly Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    const [before, after] = line.split(' - ', 2);
    const mountPoint = before?.split(' ')[4];
    const [type, , superOptions] = after?.split(' ') ?? [];
    if (mountPoint === undefined || type === undefined) continue;
    mounts.push({ mountPoint: unescapePath(mountPoint), type, superOptions: superOptions?.split(',') ?? [] });
  }
  return mounts;
}

/** Mount points at or below `folder`, the deepest and latest first: the order to unmount them in. */
export async function mountsBelow(folder: string): Promise<readonly string[]> {
  const mounts = parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8'));
  return mounts
    .map((mount) => mount.mountPoint)
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .toReversed();
}

function unescapePath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
