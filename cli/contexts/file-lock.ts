import { link, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { FrotaError } from '../../proto/base/errors.ts';

/** A holder reads and writes a few kilobytes; one that takes longer has died, or its machine has slept. */
const staleAfterMs = 10_000;
const retryMs = 20;
/** Longer than `staleAfterMs`, so that a lock left behind by a killed writer is outlived, not complained about. */
const giveUpAfterMs = 15_000;

/**
 * Runs `action` while holding the lock file `path`, which is made and removed again. A lock whose process is gone, or
 * that is older than ten seconds, is taken over.
 * @throws FrotaError `conflict` if another process keeps the lock
 */
export async function withLock<T>(path: string, action: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + giveUpAfterMs;
  while (!(await acquire(path))) {
    await breakIfStale(path);
    if (performance.now() > deadline) {
      throw new FrotaError('conflict', `another frota process holds ${path}; if there is none, remove that file`);
    }
    await delay(retryMs);
  }
  try {
    return await action();
  } finally {
    await rm(path, { force: true });
  }
}

async function acquire(path: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(String(process.pid));
    } finally {
      await file.close();
    }
    return true;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw thrown;
  }
}

/** Moves a stale lock aside and looks again: of two processes that do this at once only one may break it. */
async function breakIfStale(path: string): Promise<void> {
  if (!(await isStale(path))) return;
  const aside = `${path}.${String(process.pid)}.stale`;
  try {
    await rename(path, aside);
    // Another process may have broken it and locked anew in between: then what was moved is a live lock, put back.
    if (!(await isStale(aside))) await link(aside, path);
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code !== 'ENOENT' && code !== 'EEXIST') throw thrown;
  } finally {
    await rm(aside, { force: true });
  }
}

async function isStale(path: string): Promise<boolean> {
  try {
    const [{ mtimeMs }, holder] = await Promise.all([stat(path), readFile(path, 'utf8')]);
    if (Date.now() - mtimeMs > staleAfterMs) return true;
    // Empty for the instant between the creation of the file and its first write.
    return holder !== '' && !isAlive(Number(holder));
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw thrown;
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
}
