/**
 * One process at a time in a data folder. The lock is the kernel's (flock(2) on an open file), so it ends with its
 * holder however that dies, works across network and pid namespaces and leaves nothing stale. Node can't call flock
 * itself; the `flock` program locks the open file it inherits, and the lock stays with that file after it has ended.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { FrotaError } from '../../../proto/base/errors.ts';

export interface FolderLock {
  release(): void;
}

/** What `flock --nonblock` ends with when another holds the lock (chosen by us with `--conflict-exit-code`). */
const heldByAnother = 75;
/** flock neither waits nor works here; more means the machine is in trouble. */
const flockTimeoutMs = 10_000;

/** @throws FrotaError `conflict` when another process holds it, `unsupported` without the flock program. */
export function lockFile(path: string, what: string): FolderLock {
  const descriptor = openSync(path, 'a+', 0o600);
  try {
    const { status, error, stderr } = spawnSync(
      'flock',
      ['--exclusive', '--nonblock', '--conflict-exit-code', String(heldByAnother), '3'],
      { stdio: ['ignore', 'ignore', 'pipe', descriptor], timeout: flockTimeoutMs },
    );
    if (error !== undefined) {
      throw new FrotaError('unsupported', `cannot run flock to lock ${path}: install the package util-linux`, {
        cause: error,
      });
    }
    if (status === heldByAnother) {
      const holder = readFileSync(path, 'utf8').trim();
      throw new FrotaError(
        'conflict',
        `${what} is in use by another process${holder === '' ? '' : ` (pid ${holder})`}: stop it first, or choose another folder`,
      );
    }
    if (status !== 0) throw new FrotaError('internal', `cannot lock ${path}: ${String(stderr).trim()}`);
    // For people only: who holds it. The lock itself is in the kernel.
    ftruncateSync(descriptor);
    writeSync(descriptor, `${String(process.pid)}\n`);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return {
    release: () => {
      closeSync(descriptor);
    },
  };
}
