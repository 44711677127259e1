/** The undoing process as the agent has it: started and known to be armed before anything is hurt, looked after until it is done. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { UndoOrder, UndoOutcome } from '../../proto/domain/drill.ts';
import { readBootId } from '../host/processes.ts';
import { needsUndo } from './fault-rules.ts';
import { runsAlready } from './running-program.ts';
import { undo } from './undo.ts';
import {
  listOrders,
  readOrder,
  readOutcome,
  removeOrder,
  undoDueInMs,
  writeOrder,
  writeOutcome,
} from './undo-files.ts';

export interface UndoingOptions {
  /** Of the orders; durable. */
  readonly folder: string;
  /** The command that undoes the order in the file that is its last argument. */
  readonly program: readonly string[];
  readonly logger: Logger;
}

export interface Armed {
  readonly port: number;
}

/** Node starts in well under a second; on a machine that needs longer no drill should begin. */
const armWithinMs = 10_000;
/** Later than the undoing process itself, so that this one has something to do only when that one is gone. */
const lateMs = 2_000;
/** A hand that was told to is done within this time; then the agent does it. */
const stopWithinMs = 3_000;
const pollMs = 50;

export class Undoing {
  readonly #options: UndoingOptions;
  readonly #timers = new Map<string, NodeJS.Timeout>();
  /** By drill: the process that this agent has started. */
  readonly #pids = new Map<string, number>();

  constructor(options: UndoingOptions) {
    this.#options = options;
  }

  /** At the agent's start: what is overdue, or has nobody left to do it, is undone now. */
  async resume(): Promise<void> {
    const bootId = await readBootId();
    for (const file of await listOrders(this.#options.folder)) {
      const order = await readOrder(file);
      if (order === undefined || (await readOutcome(file)) !== undefined) continue;
      // A kill of the agent has nothing to mend: that this one runs is the end of it.
      const isOver = order.kind === 'agent-kill' || order.bootId !== bootId || undoDueInMs(order, Date.now()) === 0;
      if (isOver || !(await runsAlready([...this.#options.program, file]))) await this.#undoHere(file, order);
      else this.#watch(file, order);
    }
  }

  /** @throws FrotaError when the process could not be armed; then nothing is left of the order. */
  async arm(order: UndoOrder): Promise<Armed | undefined> {
    const { folder } = this.#options;
    for (const file of await listOrders(folder)) {
      const other = await readOrder(file);
      const isOver = other === undefined || !needsUndo(other.kind) || (await readOutcome(file)) !== undefined;
      if (isOver) await removeOrder(file);
      else throw new FrotaError('conflict', `the fault of drill ${other.drillId} is not undone yet on this node`);
    }
    const file = await writeOrder(folder, order);
    if (!needsUndo(order.kind)) return undefined;
    try {
      const { port, pid } = await this.#start(file);
      this.#pids.set(order.drillId, pid);
      this.#watch(file, order);
      return { port };
    } catch (error) {
      await removeOrder(file);
      throw new FrotaError('unavailable', 'the process that would undo the fault could not be started', {
        cause: error,
      });
    }
  }

  /** Now. Resolves when it is undone. */
  async undo(file: string): Promise<UndoOutcome | undefined> {
    const order = await readOrder(file);
    if (order === undefined) return undefined;
    const pid = this.#pids.get(order.drillId);
    if (pid !== undefined && (await readOutcome(file)) === undefined && kill(pid)) {
      for (let waitedMs = 0; waitedMs < stopWithinMs && (await readOutcome(file)) === undefined; waitedMs += pollMs) {
        await sleep(pollMs);
      }
    }
    if ((await readOutcome(file)) === undefined) await this.#undoHere(file, order);
    this.#forget(order.drillId);
    return readOutcome(file);
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  async #start(file: string): Promise<{ readonly port: number; readonly pid: number }> {
    const [command = '', ...args] = this.#options.program;
    // A session of its own; nothing of it is this process's but the pipe through which it says that it is armed.
    const child = spawn(command, [...args, file], { detached: true, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
    let complaint = '';
    child.stderr.on('data', (text: Buffer) => (complaint += text.toString()));
    const line = await new Promise<string>((resolve, reject) => {
      const fail = (why: string): void => {
        child.kill('SIGKILL');
        reject(new FrotaError('unavailable', `${why}${complaint === '' ? '' : `: ${complaint.trim()}`}`));
      };
      const timer = setTimeout(() => {
        fail(`it was not armed within ${String(armWithinMs)} ms`);
      }, armWithinMs);
      child.on('error', (error) => {
        fail(describeError(error));
      });
      child.on('exit', (code) => {
        fail(`it ended with code ${String(code)} before it was armed`);
      });
      createInterface({ input: child.stdout }).once('line', (text) => {
        clearTimeout(timer);
        resolve(text);
      });
    });
    child.removeAllListeners('exit');
    child.stdout.destroy();
    child.stderr.destroy();
    child.unref();
    const said = JSON.parse(line) as { readonly armed?: boolean; readonly port?: number };
    if (said.armed !== true || said.port === undefined || child.pid === undefined) {
      throw new FrotaError('internal', `it said ${line}`);
    }
    return { port: said.port, pid: child.pid };
  }

  /** Should the undoing process die, this one undoes what is due, if it lives. */
  #watch(file: string, order: UndoOrder): void {
    const leftMs = undoDueInMs(order, Date.now()) + lateMs;
    const timer = setTimeout(() => {
      this.#timers.delete(order.drillId);
      void readOutcome(file)
        .then((outcome) => (outcome === undefined ? this.#undoHere(file, order) : undefined))
        .catch((error: unknown) => {
          this.#options.logger.error({ drill: order.drillId, error: describeError(error) }, 'the undo failed');
        });
    }, leftMs);
    timer.unref();
    this.#timers.set(order.drillId, timer);
  }

  async #undoHere(file: string, order: UndoOrder): Promise<void> {
    const problems = order.kind === 'agent-kill' ? [] : await undo(order);
    await writeOutcome(file, { by: 'agent', atMs: Date.now(), problems });
    this.#options.logger.warn({ drill: order.drillId, kind: order.kind, problems }, 'the fault of a drill was undone');
  }

  #forget(drillId: string): void {
    clearTimeout(this.#timers.get(drillId));
    this.#timers.delete(drillId);
    this.#pids.delete(drillId);
  }
}

function kill(pid: number): boolean {
  try {
    process.kill(pid, 'SIGTERM');
    return true;
  } catch {
    return false;
  }
}
