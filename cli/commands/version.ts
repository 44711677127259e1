import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import { chooseContext, configFolder, readContexts } from '../contexts/contexts-file.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { GlobalOptions, Host } from './host.ts';

interface ServerVersion {
  readonly context: string;
  readonly version: string;
  readonly clusterId: string;
}

export function registerVersion(program: Command, host: Host): void {
  program
    .command('version')
    .description("print this program's version, and the controller's if a context leads to one")
    .addHelpText('after', examples('version', 'version -o json'))
    .action(async (_options: object, command: Command) => {
      const globals = globalOptions(command);
      const client = { version: ownVersion(), node: process.versions.node };
      const server = await serverVersion(host, globals);
      await printResult(host, globals, { client, server }, () => {
        const reached = server === null ? '' : `controller ${server.version} (context ${server.context})\n`;
        return `frota ${client.version} (Node ${client.node})\n${reached}`;
      });
    });
}

/** Null when there is no context or no answer: this verb must work without a cluster. */
async function serverVersion(host: Host, globals: GlobalOptions): Promise<ServerVersion | null> {
  const contexts = await readContexts(configFolder(host.environment));
  const isAsked = globals.context !== undefined || (host.environment['FROTA_CONTEXT'] ?? '') !== '';
  if (!isAsked && contexts.current === null) return null;
  chooseContext(contexts, globals.context, host.environment);
  try {
    return await withControl(host, globals, async (control, context) => ({
      context,
      ...(await control.version(host.signal)),
    }));
  } catch (thrown) {
    if (FrotaError.from(thrown).code === 'cancelled') throw thrown;
    host.terminal.err(`${describeError(thrown)}\n`);
    return null;
  }
}

/** Folders between this file and the package's own, in the sources and in the bundle. */
const maxFolders = 5;

/** From Frota's package.json, the nearest above this file, built or not. */
export function ownVersion(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (let level = 0; level < maxFolders; level += 1, folder = dirname(folder)) {
    try {
      const found = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
        name?: string;
        version?: string;
      };
      if (found.name === 'frota' && found.version !== undefined) return found.version;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
    }
  }
  throw new FrotaError('internal', "Frota's package.json is missing beside the program");
}
