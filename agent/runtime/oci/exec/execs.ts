/** The commands that this agent has started in containers: each with a folder for this boot, each ended for sure. */
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { FrotaError, describeError } from '../../../../proto/base/errors.ts';
import { identifyPid, isRunning, readCommandLine } from '../../../host/processes.ts';
import type { Exec, ExecRequest } from '../../runtime.ts';
import type { ContainerRecord } from '../container-record.ts';
import type { CreationContext } from '../creation.ts';
import type { OciSpec } from '../oci-spec.ts';
import { readRootfsFile } from '../rootfs-files.ts';
import { startPipeClient, startTerminalClient, type Client } from './client.ts';
import { execFailure } from './exec-failure.ts';
import { execSpec } from './exec-spec.ts';
import { findLeaders, killSession, killTree, type ContainerPlace } from './session.ts';

/** runc takes some 40 ms; a busy machine may take seconds. */
const startTimeoutMs = 15_000;
/** The runtime's pid file is looked for this often: a watch would cost more than the few looks. */
const startPollMs = 5;
/** How soon it is noticed that a command ended whose children still hold its output. */
const leaderPollMs = 200;
/** From the death of the command to that of its client, which has only what is in its pipes to pass on. */
const clientEndMs = 1_000;
/** Each start keeps a core busy; more at a time only make each of them later. */
const concurrentStarts = 2 * availableParallelism();
const runtimePrograms = new Set(['runc', 'crun']);

/** One started command; `leader` is known from the moment it runs. */
interface Started {
  readonly container: ContainerRecord;
  readonly folder: string;
  readonly client: Client;
  readonly leader: number;
}

export class Execs {
  readonly #context: CreationContext;
  /** Container id → what ends its commands, those that are still being started too. */
  readonly #live = new Map<string, Set<() => Promise<void>>>();
  readonly #starting = pLimit(concurrentStarts);
  #count = 0;

  constructor(context: CreationContext) {
    this.#context = context;
  }

  /** `container` must be running; when it is not any more, `conflict`. */
  async start(container: ContainerRecord, request: ExecRequest, signal: AbortSignal): Promise<Exec> {
    const abort = new AbortController();
    const wanted = AbortSignal.any([signal, abort.signal]);
    let settle: () => void = () => undefined;
    const settled = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const end = (): Promise<void> => {
      abort.abort();
      return settled;
    };
    const ends = this.#live.get(container.id) ?? new Set();
    this.#live.set(container.id, ends.add(end));
    const forget = (): void => {
      ends.delete(end);
      if (ends.size === 0) this.#live.delete(container.id);
      settle();
    };
    try {
      const exec = await this.#starting(() => this.#begin(container, request, wanted));
      void exec.done.catch(() => undefined).finally(forget);
      return { ...exec, kill: end };
    } catch (error) {
      forget();
      throw error;
    }
  }

  /** Ends every command in the container, or in all; resolves when nothing of them is left. */
  async endAll(containerId?: string): Promise<void> {
    const chosen = containerId === undefined ? [...this.#live.values()] : [this.#live.get(containerId) ?? new Set()];
    await Promise.all(chosen.flatMap((ends) => [...ends].map((end) => end())));
  }

  /** At a start of the agent: what the last one's commands have left, wherever its death caught them. */
  async sweep(containers: readonly ContainerRecord[]): Promise<void> {
    const root = this.#context.folders.execs;
    const folders = await readdir(root).catch(() => []);
    if (folders.length === 0) return;
    await killClients(root);
    const ids = new Set(folders.map((folder) => folder.split('.')[0]));
    for (const container of containers.filter(({ id }) => ids.has(id))) {
      const place = this.#place(container.id);
      for (const leader of await findLeaders(container.process.pid, place)) await this.#killed(killTree(leader, place));
      for (const folder of folders.filter((each) => each.startsWith(`${container.id}.`))) {
        const leader = await readPid(join(root, folder));
        if (leader !== undefined) await this.#killed(killSession(leader, place));
      }
    }
    for (const folder of folders) await rm(join(root, folder), { recursive: true, force: true });
    this.#context.logger.info({ commands: folders.length }, 'ended what an earlier agent ran in containers');
  }

  async #begin(container: ContainerRecord, request: ExecRequest, signal: AbortSignal): Promise<Omit<Exec, 'kill'>> {
    const { folders, bootId, runtimes } = this.#context;
    if (signal.aborted) throw cancelled(container);
    const spec = await this.#spec(container, request);
    this.#count += 1;
    const folder = join(folders.execs, `${container.id}.${String(this.#count)}`);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    try {
      await writeFile(join(folder, specFile), JSON.stringify(spec), { mode: 0o600 });
      const program = runtimes.get(container.runtime) ?? container.runtime;
      const args = clientArguments(folder, folders.runtimeRoot(container.runtime), container.id);
      const client =
        request.tty === true ? await startTerminalClient(program, args, request.size) : startPipeClient(program, args);
      const leader = await waitForLeader(folder, client);
      if (leader !== undefined) return this.#follow({ container, folder, client, leader }, signal);
      client.stdout.destroy();
      client.stderr.destroy();
      const { error } = await client.ended;
      if (error !== undefined) throw new FrotaError('unavailable', `${program}: ${error.message}`, { cause: error });
      if (!(await isRunning(container.process, bootId))) throw hasEnded(container.id);
      const failure = execFailure(await readFile(join(folder, logFile), 'utf8').catch(() => ''), request);
      if (failure instanceof FrotaError) throw failure;
      await rm(folder, { recursive: true, force: true });
      return notStarted(failure, request);
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async #spec(container: ContainerRecord, request: ExecRequest): Promise<OciSpec['process']> {
    const { bundle, rootfs } = this.#context.folders.container(container.id);
    const { process: own } = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8')) as OciSpec;
    const read = (path: string): Promise<string> =>
      request.user === undefined ? Promise.resolve('') : readRootfsFile(rootfs, path);
    const [passwd, group] = await Promise.all([read('/etc/passwd'), read('/etc/group')]);
    return execSpec(own, request, { passwd, group });
  }

  #follow(started: Started, signal: AbortSignal): Omit<Exec, 'kill'> {
    const { client, leader, folder, container } = started;
    const place = this.#place(container.id);
    const done = this.#untilEnd(started, signal).finally(async () => {
      await this.#killed(signal.aborted ? killTree(leader, place) : killSession(leader, place));
      await rm(folder, { recursive: true, force: true });
    });
    done.catch(() => undefined);
    const { stdin, stdout, stderr } = client;
    return {
      stdin,
      stdout,
      stderr,
      resize: (columns, rows) => {
        client.resize(columns, rows);
      },
      done,
    };
  }

  /** Until the client has ended: it passes the exit code on, and it waits for whoever holds the command's output. */
  async #untilEnd({ container, client, leader }: Started, signal: AbortSignal): Promise<{ readonly exitCode: number }> {
    const place = this.#place(container.id);
    const aborted = new Promise<'aborted'>((resolve) => {
      const onAbort = (): void => {
        resolve('aborted');
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
    const unwatch = await this.#watchLeader(leader, place);
    const first = await Promise.race([client.ended, aborted]);
    unwatch();
    if (first !== 'aborted') return exitOf(container, first.code);
    await this.#killed(killTree(leader, place));
    const end = await Promise.race([client.ended, sleep(clientEndMs, undefined)]);
    if (end === undefined) client.signal('SIGKILL');
    return exitOf(container, (await client.ended).code ?? killedExitCode);
  }

  /** Once the leader has ended, what it left in its session goes: it would keep the client waiting for its output. */
  async #watchLeader(leader: number, place: ContainerPlace): Promise<() => void> {
    const { bootId } = this.#context;
    const identity = await identifyPid(leader, bootId);
    let looking = false;
    const look = async (): Promise<void> => {
      if (looking) return;
      looking = true;
      if (identity === undefined || !(await isRunning(identity, bootId))) {
        clearInterval(timer);
        await this.#killed(killSession(leader, place));
      }
      looking = false;
    };
    const timer = setInterval(() => void look(), leaderPollMs);
    return () => {
      clearInterval(timer);
    };
  }

  /** Tells where killing was in vain; nobody can do more. */
  async #killed(work: Promise<boolean>): Promise<void> {
    const gone = await work.catch((error: unknown) => {
      this.#context.logger.warn({ error: describeError(error) }, 'could not look for what a command left');
      return true;
    });
    if (!gone) this.#context.logger.warn({}, 'processes of a command do not end after SIGKILL');
  }

  #place(containerId: string): ContainerPlace {
    return { layout: this.#context.layout, cgroupPath: this.#context.cgroupPath(containerId) };
  }
}

const specFile = 'process.json';
const pidFile = 'pid';
const logFile = 'log';
/** 128 + SIGKILL. */
const killedExitCode = 137;

export const hasEnded = (id: string): FrotaError =>
  new FrotaError('conflict', `container ${id} has ended; nothing can be run in it any more`);

const cancelled = ({ id }: ContainerRecord): FrotaError =>
  new FrotaError('cancelled', `container ${id}: the command was cancelled before it was started`);

/** With a log file of its own the runtime's words don't mix with those of the command. */
const clientArguments = (folder: string, root: string, id: string): readonly string[] => [
  ...['--root', root, '--log', join(folder, logFile), 'exec'],
  ...['--process', join(folder, specFile), '--pid-file', join(folder, pidFile), id],
];

/** The runtime writes the pid once the command runs; undefined when the client ended without. */
async function waitForLeader(folder: string, client: Client): Promise<number | undefined> {
  const ended = client.ended.then(() => 'ended' as const);
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const seen = await Promise.race([ended, sleep(startPollMs, 'tick' as const)]);
    const leader = await readPid(folder);
    if (leader !== undefined || seen === 'ended') return leader;
    if (performance.now() > deadline) {
      client.signal('SIGKILL');
      await ended;
      throw new FrotaError('deadline', `the command was not started after ${String(startTimeoutMs)} ms`);
    }
  }
}

async function readPid(folder: string): Promise<number | undefined> {
  const pid = Number(await readFile(join(folder, pidFile), 'utf8').catch(() => ''));
  return pid > 0 ? pid : undefined;
}

function exitOf({ id }: ContainerRecord, code: number | null): { readonly exitCode: number } {
  if (code !== null) return { exitCode: code };
  throw new FrotaError('unavailable', `container ${id}: the runtime's client was killed, the exit code is unknown`);
}

/** A command that could not be started looks like one that a shell could not start. */
function notStarted(
  { exitCode, output }: { readonly exitCode: number; readonly output: string },
  request: ExecRequest,
): Omit<Exec, 'kill'> {
  const words = Readable.from([Buffer.from(output)]);
  const nothing = Readable.from([]);
  return {
    stdin: new Writable({
      write: (_chunk, _encoding, callback) => {
        callback();
      },
    }),
    stdout: request.tty === true ? words : nothing,
    stderr: request.tty === true ? nothing : words,
    resize: () => undefined,
    done: Promise.resolve({ exitCode }),
  };
}

/** Clients of a dead agent: they name this folder on their command lines, and would go on starting commands. */
async function killClients(root: string): Promise<void> {
  for (const name of await readdir('/proc')) {
    const pid = Number(name);
    if (!(pid > 0)) continue;
    const [program = '', ...rest] = await readCommandLine(pid);
    if (!runtimePrograms.has(basename(program)) || !rest.some((each) => each.startsWith(`${root}/`))) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
}
