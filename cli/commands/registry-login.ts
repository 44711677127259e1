import type { Command } from 'commander';
import { FrotaError } from '../../proto/base/errors.ts';
import { maxRegistryPasswordLength } from '../../proto/domain/registry.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';
import { ask } from './prompt.ts';

interface LoginOptions {
  readonly username?: string;
  readonly passwordStdin?: boolean;
  readonly check: boolean;
}

export function registerRegistryLogin(registry: Command, host: Host): void {
  registry
    .command('login')
    .description('give the cluster what it pulls with from a registry; its nodes get it when they pull from there')
    .argument('<registry>', 'host or host:port, as image names begin with; docker.io for Docker Hub')
    .option('-u, --username <user>', 'the user; asked for at a terminal')
    .option('--password-stdin', 'read the password or access token from standard input')
    .option('--no-check', 'keep it without asking the registry whether it takes it')
    .addHelpText(
      'after',
      examples('registry login registry.example:5000', 'registry login -u ana --password-stdin ghcr.io < token.txt'),
    )
    .action(async (written: string, options: LoginOptions, command: Command) => {
      const globals = globalOptions(command);
      const { username, password } = await readCredential(host, options);
      await withControl(host, globals, async (control) => {
        const request = { host: written, username, password, check: options.check };
        const known = await control.registryLogin(request, host.signal);
        const result = { registry: known, username, checked: options.check };
        const not = options.check ? '' : '; it was not checked';
        await printResult(host, globals, result, () => `${known}: the cluster pulls as ${username}${not}\n`);
      });
    });
}

async function readCredential(
  host: Host,
  { username, passwordStdin }: LoginOptions,
): Promise<{ readonly username: string; readonly password: string }> {
  if (passwordStdin === true) {
    if (username === undefined)
      throw new FrotaError('invalid', 'with --password-stdin the user is to be named: add -u USER');
    return { username, password: await passwordFrom(host) };
  }
  const person = host.terminal.person();
  if (person === undefined)
    throw new FrotaError('invalid', 'there is no terminal to ask for the password at: add --password-stdin');
  const user = { text: 'User: ', hidden: false };
  const secret = { text: 'Password: ', hidden: true };
  if (username !== undefined) return { username, password: (await ask(host, person, [secret]))[0] ?? '' };
  const [asked = '', password = ''] = await ask(host, person, [user, secret]);
  return { username: asked, password };
}

/** Without the line break that files and `echo` end with. */
async function passwordFrom(host: Host): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of host.stdin()) {
    length += chunk.length;
    // Four bytes a character at the most, and the line break.
    if (length > maxRegistryPasswordLength * 4 + 2) throw new FrotaError('invalid', 'standard input is no password: it is too long'); // prettier-ignore
    chunks.push(chunk);
  }
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}
