/** The runtime port on an OCI runtime (runc or crun) under conmon: containers outlive the agent and are adopted again. */
import { mkdir, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { FrotaError, describeError } from '../../../proto/base/errors.ts';
import type { Logger } from '../../../proto/base/log.ts';
import type { LogLine, LogQuery } from '../../../proto/domain/logs.ts';
import {
  controllerFolder,
  detectCgroupLayout,
  makeCgroup,
  refuseInnerProcesses,
  type CgroupLayout,
} from '../../host/cgroups.ts';
import { ociArchitecture, readOwnBounds } from '../../host/facts.ts';
import { readBootId, sendSignal } from '../../host/processes.ts';
import { findPrograms, requirePrograms, run } from '../../host/programs.ts';
import type { CapturedExec, CaptureOptions, Container, ContainerExit, ContainerSpec, Exec, ExecRequest, Runtime } from '../runtime.ts'; // prettier-ignore
import { adoptContainers } from './adoption.ts';
import type { BundleFacts } from './bundle.ts';
import { chooseRuntime, type RuntimeName } from './choose-runtime.ts';
import { readExit } from './container-exit.ts';
import { writeRecord, type ContainerRecord } from './container-record.ts';
import { isOpen, mayWrite, newEntry, runningRecord, toContainer, type Entry } from './entry.ts';
import { makeContainer, type CreationContext } from './creation.ts';
import { captureExec } from './exec/captured-exec.ts';
import { Execs } from './exec/execs.ts';
import { watchExits, type ExitWatch } from './exit-watch.ts';
import { isContainerId, runtimeFolders } from './folders.ts';
import { ContainerLogs } from './logs/container-logs.ts';
import { defaultKeptLimits, KeptLogs, type KeptLimits } from './logs/kept-logs.ts';
import { defaultLogLimits, type LogLimits } from './logs/log-rotation.ts';
import { removeContainer } from './removal.ts';
import { signalNumber } from './signals.ts';

export interface OciRuntimeOptions {
  /** Absolute. Survives a reboot; containers, their writable layers and logs lie here. */
  readonly dataDir: string;
  /** Absolute. For this boot only (below /run); the runtimes' own state lies here. */
  readonly runDir: string;
  /**
   * The node's cgroup (`/frota-n1`), the same path in every hierarchy. Whoever starts the agent puts it into
   * `<cgroupParent>/agent`; here `conmon` and `containers/ID` are made beside it, so one `cgroup.kill` of the parent
   * ends the whole node, and killing `agent` ends the agent alone.
   */
  readonly cgroupParent: string;
  readonly logger: Logger;
  /** This runtime or none; absent: the better one that works here. */
  readonly runtime?: RuntimeName;
  readonly logLimits?: LogLimits;
  readonly keptLimits?: KeptLimits;
  readonly exitPollMs?: number;
}

export interface OciRuntime extends Runtime {
  /** Which runtime was chosen. */
  readonly runtimeName: RuntimeName;
}

/** Only for ends that the watch does not see. */
const defaultExitPollMs = 1_000;
/** What people read as the reason of a failure. */
const lastOutputBytes = 4 * 1024;
/** `start` takes some 15 ms. */
const startTimeoutMs = 15_000;
/** A create keeps a core busy; more at a time only make each of them later. */
const concurrentCreates = availableParallelism();
/** mount(8) and umount(8) are called by name; conmon is a monitor of every container. */
const neededPrograms = ['conmon', 'mount', 'umount'];

/** Throws `unsupported` when the host lacks a program or no runtime can run here, with all reasons at once. */
export async function createOciRuntime(options: OciRuntimeOptions): Promise<OciRuntime> {
  const [layout, programs, bounds, bootId] = await Promise.all([
    detectCgroupLayout(),
    requirePrograms(neededPrograms),
    readOwnBounds(),
    readBootId(),
  ]);
  const chosen = await chooseRuntime(layout, bounds.capabilityBounds, options.runtime);
  const { found } = await findPrograms(['runc', 'crun']);
  const folders = runtimeFolders(options.dataDir, options.runDir);
  for (const folder of [folders.containers, folders.exits, folders.execs, folders.runtimeRoot(chosen.name)]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  }
  const conmonCgroup = join(options.cgroupParent, 'conmon');
  const containersCgroup = join(options.cgroupParent, 'containers');
  await refuseInnerProcesses(layout, options.cgroupParent);
  await makeCgroup(layout, conmonCgroup);
  await makeCgroup(layout, containersCgroup);
  options.logger.info({ runtime: chosen.name, version: chosen.version, cgroups: layout.kind }, 'OCI runtime chosen');
  const facts: BundleFacts = {
    cgroupKind: layout.kind,
    swapAccounting: await hasSwapAccounting(layout),
    architecture: ociArchitecture(),
    ...bounds,
  };
  return new OciRuntimeAdapter(options, {
    folders,
    layout,
    facts,
    bootId,
    logger: options.logger,
    runtime: chosen,
    runtimes: found,
    conmon: programs.get('conmon') ?? 'conmon',
    conmonCgroup,
    containersCgroup,
    unattendedLogBytes: (options.logLimits ?? defaultLogLimits).unattendedBytes,
    cgroupPath: (id) => join(containersCgroup, id),
    keptLogs: new KeptLogs(folders.keptLogs, options.keptLimits ?? defaultKeptLimits, options.logger),
  });
}

class OciRuntimeAdapter implements OciRuntime {
  readonly runtimeName: RuntimeName;
  private readonly context: CreationContext;
  private readonly exitPollMs: number;
  private readonly entries = new Map<string, Entry>();
  private readonly listeners = new Set<(id: string, exit: ContainerExit) => void>();
  /** Steps on one container wait for each other; different ones don't. */
  private readonly turns = new Map<string, Promise<unknown>>();
  private readonly creating = pLimit(concurrentCreates);
  private readonly execs: Execs;
  private readonly containerLogs: ContainerLogs;
  private adopted: Promise<void> | undefined;
  private watch: ExitWatch | undefined;
  private closed = false;

  constructor(options: OciRuntimeOptions, context: CreationContext) {
    this.runtimeName = context.runtime.name;
    this.context = context;
    this.execs = new Execs(context);
    this.containerLogs = new ContainerLogs({
      folders: context.folders,
      kept: context.keptLogs,
      limits: options.logLimits ?? defaultLogLimits,
      logger: context.logger,
      running: () => [...this.entries.values()].filter(mayWrite).map(({ record }) => record.id),
    });
    this.exitPollMs = options.exitPollMs ?? defaultExitPollMs;
  }

  async list(): Promise<readonly Container[]> {
    await this.adopt();
    await this.checkAll();
    return [...this.entries.values()].filter((entry) => !entry.removing).map(({ record }) => toContainer(record));
  }

  async create(spec: ContainerSpec, signal: AbortSignal): Promise<void> {
    await this.adopt();
    await this.inTurn(spec.id, async () => {
      if (this.entries.has(spec.id)) {
        throw new FrotaError('already-exists', `container ${spec.id} exists already; remove it first`);
      }
      const record = await this.creating(() => makeContainer(spec, signal, this.context));
      this.entries.set(spec.id, newEntry(record));
    });
  }

  async start(id: string): Promise<{ readonly pid: number; readonly startedAtMs: number }> {
    await this.adopt();
    return this.inTurn(id, async () => {
      const entry = this.entries.get(id);
      if (entry === undefined) throw new FrotaError('not-found', `container ${id} does not exist; create it first`);
      if (entry.record.exit !== undefined) throw new FrotaError('conflict', `container ${id} has ended`);
      const { pid } = entry.record.process;
      if (entry.record.phase === 'started') return { pid, startedAtMs: entry.record.startedAtMs ?? 0 };
      const created = entry.record;
      const startedAtMs = Date.now();
      await this.store(entry, { ...created, phase: 'starting', startedAtMs }, true);
      const { folders, runtimes } = this.context;
      const program = runtimes.get(created.runtime) ?? created.runtime;
      try {
        await run(program, ['--root', folders.runtimeRoot(created.runtime), 'start', id], {
          timeoutMs: startTimeoutMs,
        });
      } catch (error) {
        await this.storeIfPossible(entry, created);
        throw error;
      }
      // It runs: a full disk is no reason to give it up, and a later agent asks the runtime.
      await this.storeIfPossible(entry, { ...entry.record, phase: 'started', startedAtMs });
      return { pid, startedAtMs };
    });
  }

  async kill(id: string, signal: string): Promise<void> {
    const number = signalNumber(signal);
    await this.adopt();
    const entry = this.entries.get(id);
    if (entry === undefined) return;
    // The first process of a pid namespace takes all others with it when it is killed.
    await sendSignal(entry.record.process, number, this.context.bootId);
  }

  async remove(id: string): Promise<void> {
    await this.adopt();
    if (!isContainerId(id)) return;
    const marked = this.entries.get(id);
    if (marked !== undefined) marked.removing = true;
    await this.inTurn(id, async () => {
      const entry = this.entries.get(id);
      if (entry !== undefined) entry.removing = true;
      try {
        // A record written into a folder that is being emptied would keep it from going.
        await entry?.writing.catch(() => undefined);
        await this.execs.endAll(id);
        await removeContainer(id, entry?.record, this.context);
        this.entries.delete(id);
      } catch (error) {
        // Listed again, so that removing it can be tried again.
        if (entry !== undefined) entry.removing = false;
        throw error;
      }
    });
  }

  async exec(id: string, request: ExecRequest, signal: AbortSignal): Promise<Exec> {
    await this.adopt();
    return this.execs.start(runningRecord(id, this.entries.get(id)), request, signal);
  }

  async execCaptured(
    id: string,
    request: ExecRequest,
    options: CaptureOptions,
    signal: AbortSignal,
  ): Promise<CapturedExec> {
    return captureExec((limited) => this.exec(id, request, limited), options, signal);
  }

  async lastOutput(id: string): Promise<string> {
    return this.containerLogs.lastOutput(id, lastOutputBytes);
  }

  async *logs(id: string, query: LogQuery, signal: AbortSignal): AsyncGenerator<readonly LogLine[]> {
    await this.adopt();
    yield* this.containerLogs.read(id, this.entries.has(id), query, signal);
  }

  onExit(listener: (id: string, exit: ContainerExit) => void): void {
    this.listeners.add(listener);
  }

  async close(): Promise<void> {
    this.closed = true;
    this.listeners.clear();
    this.watch?.close();
    await Promise.allSettled([...this.turns.values(), this.adopted]);
    this.watch?.close();
    await Promise.all([this.execs.endAll(), this.containerLogs.close()]);
    await Promise.allSettled([...this.entries.values()].map((entry) => entry.writing));
  }

  /** Once per agent process, before anything else: whatever lives is found again, whatever is half-made goes. */
  private adopt(): Promise<void> {
    this.adopted ??= this.adoptOnce().catch((error: unknown) => {
      this.adopted = undefined;
      throw error;
    });
    return this.adopted;
  }

  private async adoptOnce(): Promise<void> {
    if (this.closed) throw new FrotaError('cancelled', 'the runtime is closed');
    // The watch first: an exit between the look and the watch would be seen by the poll only.
    this.watch ??= watchExits(this.context.folders.exits, this.exitPollMs, this.context.logger, {
      onExitFile: (name) => {
        const entry = this.entries.get(name);
        if (entry !== undefined) void this.check(entry);
      },
      onPoll: () => void this.checkAll(),
    });
    const records = await adoptContainers(this.context);
    await this.execs.sweep(records);
    for (const record of records) this.entries.set(record.id, newEntry(record));
    this.containerLogs.recover();
  }

  private async checkAll(): Promise<void> {
    await Promise.all([...this.entries.values()].map((entry) => this.check(entry)));
  }

  /** Looks whether the container has ended, and tells it once. Never throws: the next poll looks again. */
  private async check(entry: Entry): Promise<void> {
    if (!isOpen(entry)) return;
    const { id } = entry.record;
    try {
      const exit = await readExit(entry.record, { ...this.context, cgroupPath: this.context.cgroupPath(id) });
      // Several looks may be under way at once: the first to come here tells.
      if (exit === undefined || !isOpen(entry)) return;
      entry.record = { ...entry.record, exit };
      for (const listener of this.listeners) listener(id, exit);
      await this.write(entry, false);
    } catch (error) {
      this.context.logger.warn(
        { container: id, error: describeError(error) },
        'could not settle how a container ended',
      );
    }
  }

  /** An exit that was noticed meanwhile stays. */
  private async store(entry: Entry, record: ContainerRecord, durable: boolean): Promise<void> {
    const { exit } = entry.record;
    entry.record = exit === undefined ? record : { ...record, exit };
    await this.write(entry, durable);
  }

  private async storeIfPossible(entry: Entry, record: ContainerRecord): Promise<void> {
    await this.store(entry, record, false).catch((error: unknown) => {
      const { id } = record;
      this.context.logger.warn(
        { container: id, error: describeError(error) },
        'the state of a container is not recorded',
      );
    });
  }

  private write(entry: Entry, durable: boolean): Promise<void> {
    const path = this.context.folders.container(entry.record.id).record;
    entry.writing = entry.writing.catch(() => undefined).then(() => writeRecord(path, entry.record, durable));
    return entry.writing;
  }

  private async inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.turns.get(id) ?? Promise.resolve()).catch(() => undefined).then(work);
    this.turns.set(id, turn);
    try {
      return await turn;
    } finally {
      if (this.turns.get(id) === turn) this.turns.delete(id);
    }
  }
}

/** On v1 the kernel has it only when booted so (`swapaccount=1`); on v2 always, or the runtime copes. */
async function hasSwapAccounting(layout: CgroupLayout): Promise<boolean> {
  if (layout.kind === 'v2') return true;
  const folder = controllerFolder(layout, 'memory', '/');
  if (folder === undefined) return false;
  return stat(join(folder, 'memory.memsw.limit_in_bytes')).then(
    () => true,
    () => false,
  );
}
