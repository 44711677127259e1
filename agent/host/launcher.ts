/**
 * A small shell that starts programs in the agent's place. A fork copies the page tables of whoever calls it, and makes every page
 * it writes next cost a fault: 9 to 12 ms of the agent's main thread for each program, against 1 ms through a process of 2 MiB.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Logger } from '../../proto/base/log.ts';

export interface Call {
  /** A path. */
  readonly program: string;
  readonly args: readonly string[];
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
  readonly maxOutputBytes: number;
  /** What was written is more than `maxOutputBytes`; the program has ended, or is to be killed by the caller. */
  readonly onTooMuch: () => void;
}

export interface Ending {
  readonly stdout: string;
  readonly stderr: string;
  /** null: a signal ended it. */
  readonly code: number | null;
  readonly killedBy: string | null;
  /** The folder to run in could not be entered; nothing was started. */
  readonly noFolder: boolean;
}

export interface Launched {
  /** Never rejects. undefined: the launcher itself ended before the program did, and nothing is known of it. */
  readonly ended: Promise<Ending | undefined>;
  /** SIGKILL, as soon as it has a process id. */
  kill(): void;
}

/** A process that runs a shell's words; no other program is needed for it. */
const shell = '/bin/sh';
/** What programs write goes to files in memory: one that goes wild is found out within this time. */
const watchIntervalMs = 250;
/** A signal n that ended a program is told by a shell as 128 + n. */
const signalBase = 128;
/** What a subshell says when it can't enter the folder; programs that are called do not end with it. */
const noFolderCode = 1_000;

interface Pending {
  readonly call: Call;
  readonly slot: string;
  readonly settle: (ending: Ending | undefined) => void;
  pid?: number;
  isKilled: boolean;
}

/** Files of one call at a time: `SLOT.in`, `SLOT.out`, `SLOT.err`; they are used again and removed with the folder. */
export class Launcher {
  readonly #folder: string;
  readonly #logger: Logger;
  readonly #pending = new Map<string, Pending>();
  readonly #free: string[] = [];
  #child: ChildProcess | undefined;
  #lastId = 0;
  #slots = 0;
  #watch: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** `folder`: in memory, of this process alone; made here, and emptied of what an earlier one left. */
  constructor(folder: string, logger: Logger) {
    this.#folder = folder;
    this.#logger = logger;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** Throws when the input can't be written (no room in memory). */
  launch(call: Call): Launched {
    const child = this.#running();
    const id = String((this.#lastId += 1));
    const slot = this.#free.pop() ?? String((this.#slots += 1));
    const hasInput = call.input !== undefined && call.input.length > 0;
    if (hasInput) writeFileSync(this.#file(slot, 'in'), call.input ?? '', { mode: 0o600 });
    let pending: Pending | undefined;
    const ended = new Promise<Ending | undefined>((settle) => {
      pending = { call, slot, settle, isKilled: false };
      this.#pending.set(id, pending);
    });
    child.stdin?.write(this.#line(id, slot, call, hasInput));
    this.#watch ??= setInterval(() => {
      this.#checkSizes();
    }, watchIntervalMs).unref();
    return {
      ended,
      kill: () => {
        if (pending === undefined || pending.isKilled || !this.#pending.has(id)) return;
        pending.isKilled = true;
        killPid(pending.pid);
      },
    };
  }

  /** Starts no more; what runs goes on by itself, as it would without this process. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#watch);
    this.#child?.stdin?.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * A subshell that starts the program, says its process id, and then how it ended and which of its two streams said something.
   * `jobs` reaps the subshells before.
   */
  #line(id: string, slot: string, call: Call, hasInput: boolean): string {
    const words = [call.program, ...call.args].map(quote).join(' ');
    const [input = '', output = '', errors = ''] = [
      hasInput ? this.#file(slot, 'in') : '/dev/null',
      this.#file(slot, 'out'),
      this.#file(slot, 'err'),
    ].map(quote);
    const enter = call.cwd === undefined ? '' : `cd ${quote(call.cwd)} 2>/dev/null || { echo "d ${id} ${String(noFolderCode)} -"; exit; }; `; // prettier-ignore
    const start = `${words} <${input} >${output} 2>${errors} & echo "p ${id} $!"; wait $!; s=$?; `;
    const said = `f=-; [ -s ${output} ] && f=\${f}o; [ -s ${errors} ] && f=\${f}e; echo "d ${id} $s $f"; `;
    return `{ ${enter}${start}${said}} & jobs >/dev/null\n`;
  }

  #running(): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    const child = spawn(shell, [], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => (errors = (errors + chunk.toString('utf8')).slice(-watchedErrorChars)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#heard(line);
    });
    // EPIPE: its end is told below.
    child.stdin.on('error', () => undefined);
    const gone = (reason: string): void => {
      if (this.#child !== child) return;
      this.#child = undefined;
      if (!this.#isClosed)
        this.#logger.warn({ reason, errors }, 'the launcher of programs ended; the next call starts it again');
      for (const [id, { settle }] of [...this.#pending]) {
        // What it started may run on and write to its files: they are not used again.
        this.#pending.delete(id);
        settle(undefined);
      }
    };
    child.on('error', (error) => {
      gone(error.message);
    });
    child.on('close', (code, signal) => {
      gone(`code ${String(code)}, signal ${String(signal)}`);
    });
    return child;
  }

  #heard(line: string): void {
    const [kind, id = '', number = '', streams = ''] = line.split(' ');
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    if (kind === 'p') {
      pending.pid = Number(number);
      if (pending.isKilled) killPid(pending.pid);
      return;
    }
    this.#pending.delete(id);
    const ending = this.#ending(pending, Number(number), streams);
    this.#free.push(pending.slot);
    pending.settle(ending);
    if (this.#pending.size === 0) {
      clearInterval(this.#watch);
      this.#watch = undefined;
    }
  }

  #ending({ call, slot }: Pending, status: number, streams: string): Ending {
    if (!this.#isWithinBounds(call, slot)) call.onTooMuch();
    const read = (mark: string, name: string): string =>
      streams.includes(mark) ? readSome(this.#file(slot, name), call.maxOutputBytes) : '';
    const killedBy = status > signalBase ? (signalNames.get(status - signalBase) ?? null) : null;
    return {
      stdout: read('o', 'out'),
      stderr: read('e', 'err'),
      code: killedBy === null ? status : null,
      killedBy,
      noFolder: status === noFolderCode,
    };
  }

  #checkSizes(): void {
    for (const { call, slot } of this.#pending.values()) if (!this.#isWithinBounds(call, slot)) call.onTooMuch();
  }

  #isWithinBounds(call: Call, slot: string): boolean {
    const sizes = ['out', 'err'].map((name) => statSync(this.#file(slot, name), { throwIfNoEntry: false })?.size ?? 0);
    return sizes.every((size) => size <= call.maxOutputBytes);
  }

  #file(slot: string, name: string): string {
    return join(this.#folder, `${slot}.${name}`);
  }
}

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

/** The end of what the launcher itself complained of: for the log. */
const watchedErrorChars = 2_000;

function readSome(file: string, maxBytes: number): string {
  try {
    return readFileSync(file).subarray(0, maxBytes).toString('utf8');
  } catch {
    // Removed with the folder: the agent stops.
    return '';
  }
}

/** The subshell that started it reaps it and says so at once: a process id that is not known to have ended is still its own. */
function killPid(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Ended a moment ago.
  }
}

/** As one word of a shell, whatever is in it. */
const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
