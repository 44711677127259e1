/** The logs of one node's containers, running, ended and removed: one place that reads, rotates, keeps and forgets them. */
import { FrotaError } from '../../../../proto/base/errors.ts';
import type { Logger } from '../../../../proto/base/log.ts';
import type { LogLine, LogQuery } from '../../../../proto/domain/logs.ts';
import { isContainerId, type RuntimeFolders } from '../folders.ts';
import type { KeptLogs } from './kept-logs.ts';
import { readLastOutput } from './last-output.ts';
import { listLogFiles } from './log-files.ts';
import { readLog } from './log-reader.ts';
import { LogRotation, type LogLimits } from './log-rotation.ts';

export interface ContainerLogsOptions {
  readonly folders: RuntimeFolders;
  readonly kept: KeptLogs;
  readonly limits: LogLimits;
  readonly logger: Logger;
  /** Ids of containers that may still write. */
  readonly running: () => readonly string[];
}

export class ContainerLogs {
  readonly #options: ContainerLogsOptions;
  readonly #rotation: LogRotation;
  #recovery: Promise<void> = Promise.resolve();

  constructor(options: ContainerLogsOptions) {
    this.#options = options;
    const live = () => options.running().map((id) => options.folders.container(id));
    this.#rotation = new LogRotation(options.limits, live, options.logger);
  }

  /** Once the containers of an earlier agent are known; works on in the background. */
  recover(): void {
    this.#recovery = this.#rotation.recover().catch(() => undefined);
  }

  /** Throws `not-found` where nothing is known of the container, and nothing is kept of it. */
  async *read(id: string, known: boolean, query: LogQuery, signal: AbortSignal): AsyncGenerator<readonly LogLine[]> {
    const folders = this.#folders(id);
    if (folders === undefined || (!known && (await listLogFiles(folders)).length === 0)) {
      throw new FrotaError('not-found', `this node has no log of task ${id}: it never ran here, or it is too long ago`);
    }
    yield* readLog({ folders, ended: () => !this.#options.running().includes(id), now }, query, signal);
  }

  async lastOutput(id: string, maxBytes: number): Promise<string> {
    const folders = this.#folders(id);
    return folders === undefined ? '' : readLastOutput(folders, maxBytes);
  }

  async close(): Promise<void> {
    await Promise.all([this.#rotation.close(), this.#recovery, this.#options.kept.close()]);
  }

  #folders(id: string): readonly [own: string, kept: string] | undefined {
    const { folders, kept } = this.#options;
    return isContainerId(id) ? [folders.container(id).folder, kept.folder(id)] : undefined;
  }
}

/** As in `LogLine`; this clock has milliseconds. */
const now = (): string => new Date().toISOString().replace('Z', '000000Z');
