/** A lock between processes that a SIGKILL of its holder releases: held by a `flock` child that lives as long as our pipe to it. */
import { spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import { runRoot } from './place.ts';

/** The longest that another `up` of a fresh cluster may take. */
const lockTimeoutSeconds = 180;

/** Runs `work` while nobody else on this machine holds the lock of this name. @throws FrotaError `deadline`, `cancelled` */
export async function withLock<T>(name: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const folder = join(runRoot, '.locks');
  await mkdir(folder, { recursive: true });
  const args = [
    '--exclusive',
    '--wait',
    String(lockTimeoutSeconds),
    join(folder, name),
    'sh',
    '-c',
    'echo held; exec cat',
  ];
  // A group of its own: Ctrl-C ends the holder through us, not before us.
  const holder = spawn('flock', args, { stdio: ['pipe', 'pipe', 'ignore'], detached: true });
  const ended = new Promise<void>((resolve) => {
    holder.on('close', () => resolve());
    holder.on('error', () => resolve());
  });
  holder.stdin.on('error', () => undefined);
  const giveUp = (): void => {
    holder.kill('SIGKILL');
  };
  signal?.addEventListener('abort', giveUp, { once: true });
  const held = await Promise.race([
    new Promise<boolean>((resolve) => holder.stdout.once('data', () => resolve(true))),
    ended.then(() => false),
  ]);
  // Once it is held, only the end of the work releases it.
  signal?.removeEventListener('abort', giveUp);
  if (signal?.aborted === true && !held)
    throw new FrotaError('cancelled', `waiting for cluster lock "${name}": cancelled`);
  if (!held) {
    const limit = `${lockTimeoutSeconds} seconds`;
    throw new FrotaError('deadline', `cluster lock "${name}": another command held it for more than ${limit}`);
  }
  holder.stdout.resume();
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await ended;
  }
}
