/** The files this node writes for its containers, one folder a task; those about names are kept true in place while containers run. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError } from '../../proto/base/errors.ts';
import type { Logger } from '../../proto/base/log.ts';
import type { AssignedTask, ServiceUnit } from '../../proto/domain/assignment.ts';
import { diskError, writeFileDurably } from '../host/durable-file.ts';
import type { TaskFiles } from './ports.ts';

export interface TaskFilesOptions {
  readonly folder: string;
  readonly services: () => readonly ServiceUnit[];
  readonly renderHosts: (content: {
    hostname: string;
    address: string;
    stack: string;
    services: readonly { stack: string; name: string; vip: string }[];
  }) => string;
  readonly writeInPlace: (path: string, text: string) => Promise<boolean>;
  readonly resolvConf: () => Promise<string>;
  readonly logger: Logger;
}

/** What a hosts file is made of besides the services; kept beside it, so that a later agent can refresh it. */
interface Identity {
  readonly hostname: string;
  readonly address: string;
  readonly stack: string;
  /** Absent in records of agents that did not know networks apart. */
  readonly networks?: readonly string[];
}

const identityFile = 'identity.json';

export function createTaskFiles(options: TaskFilesOptions): TaskFiles {
  const folderOf = (taskId: string): string => join(options.folder, taskId);

  const writeHosts = (taskId: string, identity: Identity, services: readonly ServiceUnit[]): Promise<boolean> => {
    const known = services.filter((service) => isKnownTo(identity, service));
    return options.writeInPlace(join(folderOf(taskId), 'hosts'), options.renderHosts({ ...identity, services: known }));
  };
  const list = (): Promise<readonly string[]> => readdir(options.folder).catch(() => []);

  return {
    prepare: async (task: AssignedTask, attachment) => {
      const folder = folderOf(task.id);
      const networks = task.template.networks.map(({ network }) => network);
      const identity: Identity = { hostname: task.id, address: attachment.address, stack: task.stack, networks };
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await Promise.all([
          writeFileDurably(join(folder, identityFile), JSON.stringify(identity)),
          writeFile(join(folder, 'hostname'), `${task.id}\n`, { mode: 0o644 }),
          options.resolvConf().then((text) => writeFile(join(folder, 'resolv.conf'), text, { mode: 0o644 })),
          writeHosts(task.id, identity, options.services()),
        ]);
      } catch (error) {
        throw await diskError(error, folder);
      }
      return ['hosts', 'hostname', 'resolv.conf'].map((name) => ({
        source: join(folder, name),
        target: `/etc/${name}`,
      }));
    },
    refresh: async (services) => {
      const resolvConf = await options.resolvConf();
      for (const taskId of await list()) {
        // A folder that is being made or removed at this moment has no identity; `prepare` writes it anew.
        const text = await readFile(join(folderOf(taskId), identityFile), 'utf8').catch(() => undefined);
        if (text === undefined) continue;
        try {
          await writeHosts(taskId, JSON.parse(text) as Identity, services);
          await options.writeInPlace(join(folderOf(taskId), 'resolv.conf'), resolvConf);
        } catch (error) {
          // Cut off by a power cut, or the disk is full: the other tasks' names are kept right all the same.
          options.logger.warn(
            { taskId, error: describeError(error) },
            'its files about names could not be brought up to date',
          );
        }
      }
    },
    remove: (taskId) => rm(folderOf(taskId), { recursive: true, force: true }),
    list,
  };
}

/** As the name server has it: who shares a network is known, of whatever stack. */
const isKnownTo = ({ stack, networks }: Identity, service: ServiceUnit): boolean =>
  networks === undefined ? service.stack === stack : service.networks.some(({ network }) => networks.includes(network));
