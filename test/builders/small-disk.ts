/** A file system of a few megabytes, to be filled to the last byte. Needs root. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** They find out at other moments that they are full: ext4 allocates late, keeps a journal and holds blocks back. */
export const smallDiskKinds = ['ext4', 'tmpfs'] as const;
export type SmallDiskKind = (typeof smallDiskKinds)[number];

export interface SmallDisk {
  /** Where it is mounted. */
  readonly path: string;
  freeBytes(): number;
  /** Takes the room there is but for `leaveBytes`, in a file of its own. */
  fill(leaveBytes?: number): void;
  /** Gives the room back that `fill` has taken. */
  makeRoom(): void;
  /** Unmounts it and removes its file, whatever is still open. Twice is fine; the end of the process does it too. */
  remove(): void;
}

const fillerName = 'filler';
/** The larger the quicker; the last ones are small, so that nothing is left. */
const chunkSizes = [256 * 1024, 4096, 512, 1] as const;

/** `files`: how many it can have, folders included; default: as many as its maker thinks right. */
export function makeSmallDisk(kind: SmallDiskKind, bytes: number, files?: number): SmallDisk {
  const folder = mkdtempSync(join(tmpdir(), 'ft-small-disk-'));
  const path = join(folder, 'mounted');
  const image = join(folder, 'image');
  const make: Readonly<Record<SmallDiskKind, string>> = {
    tmpfs: `mkdir ${path} && mount -t tmpfs -o size=${String(bytes)},mode=755${files === undefined ? '' : `,nr_inodes=${String(files)}`} ft-small ${path}`,
    // Its loop device goes with the mount.
    ext4: `mkdir ${path} && truncate -s ${String(bytes)} ${image} && mkfs.ext4 -q -m 0 ${files === undefined ? '' : `-N ${String(files)}`} ${image} && mount -o loop ${image} ${path}`,
  };
  const remove = (): void => {
    process.off('exit', remove);
    // Lazily, when something is still open in there: then it goes with the last of that.
    spawnSync('sh', ['-c', `mountpoint -q ${path} && { umount ${path} 2>/dev/null || umount -l ${path}; }`]);
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', remove);
  const made = spawnSync('sh', ['-c', make[kind]], { encoding: 'utf8' });
  if (made.status !== 0) {
    remove();
    throw new Error(`no small ${kind}: ${made.stderr}`);
  }
  const freeBytes = (): number => {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  };
  return {
    path,
    freeBytes,
    fill: (leaveBytes = 0) => {
      fillFile(join(path, fillerName), () => freeBytes() - leaveBytes, leaveBytes === 0);
    },
    makeRoom: () => {
      rmSync(join(path, fillerName), { force: true });
    },
    remove,
  };
}

function fillFile(path: string, leftBytes: () => number, toTheEnd: boolean): void {
  const file = openSync(path, 'a');
  try {
    for (const size of chunkSizes) {
      const chunk = Buffer.alloc(size, 'f');
      try {
        while (toTheEnd || leftBytes() >= size) writeSync(file, chunk);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    closeSync(file);
  }
}
