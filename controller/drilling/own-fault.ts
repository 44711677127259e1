/** The controller hurts itself, once a process of its own is armed that makes sure that one runs again. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { FrotaError } from '../../proto/base/errors.ts';
import { undoOrderSuffix } from '../../proto/domain/drill-orders.ts';
import type { UndoOrder } from '../../proto/domain/drill.ts';
import type { OwnFault } from './ports.ts';

export interface OwnFaultOptions {
  readonly folder: string;
  /** The command that undoes the order in the file that is its last argument: the agent's, as a program. */
  readonly program: readonly string[];
}

/** Node starts in well under a second. */
const armWithinMs = 10_000;

export function createOwnFault({ folder, program }: OwnFaultOptions): OwnFault {
  return {
    arm: async (drillId, undoWithinMs, stopKey) => {
      const order: UndoOrder = {
        version: 1,
        drillId,
        kind: 'controller-kill',
        bootId: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
        dueAtMs: Date.now() + undoWithinMs,
        withinMs: undoWithinMs,
        stopKey,
        steps: [{ kind: 'run-again', program: await ownCommand(), cwd: process.cwd() }],
      };
      // One drill at a time: what is here is an earlier one's, and over.
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const file = join(folder, drillId + undoOrderSuffix);
      await writeFile(file, JSON.stringify(order), { mode: 0o600 });
      return startUndoer([...program, file]);
    },
    kill: () => {
      process.kill(process.pid, 'SIGKILL');
      return new Promise<never>(() => undefined);
    },
  };
}

async function ownCommand(): Promise<readonly string[]> {
  return (await readFile('/proc/self/cmdline', 'utf8')).split('\0').slice(0, -1);
}

async function startUndoer([command = '', ...args]: readonly string[]): Promise<number> {
  const child = spawn(command, args, { detached: true, cwd: '/', stdio: ['ignore', 'pipe', 'ignore'] });
  const signal = AbortSignal.timeout(armWithinMs);
  try {
    const [line] = (await Promise.race([
      once(createInterface({ input: child.stdout }), 'line', { signal }),
      once(child, 'exit', { signal }).then(() => Promise.reject(new Error('it ended before it was armed'))),
    ])) as [string];
    const { armed, port } = JSON.parse(line) as { readonly armed?: boolean; readonly port?: number };
    if (armed !== true || port === undefined) throw new Error(`it said ${line}`);
    return port;
  } catch (cause) {
    child.kill('SIGKILL');
    const message = 'the process that makes sure that a controller runs again could not be started';
    throw new FrotaError('unavailable', message, { cause });
  } finally {
    child.stdout.destroy();
    child.unref();
  }
}
