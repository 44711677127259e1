/**
 * The clusters a person knows: `contexts.json`, readable by its owner only, for it holds private keys. Writers take
 * turns by a lock file and replace the whole file in one rename, so a reader always sees a complete one.
 */
import { constants } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import { withLock } from './file-lock.ts';

export interface ClusterContext {
  /** Each `host:port`, the control port first, then the join port. */
  readonly addresses: readonly string[];
  /** PEM; the certificate and its key are the person's. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** `host:port` of the registry beside a local cluster. */
  readonly registry?: string;
}

export interface Contexts {
  /** Null while there is none, or after the current one was removed. */
  readonly current: string | null;
  readonly contexts: Readonly<Record<string, ClusterContext>>;
}

type Environment = Readonly<Record<string, string | undefined>>;

const noContexts: Contexts = { current: null, contexts: {} };

/** A context is a few kilobytes; a larger file is not ours. */
const maxFileBytes = 4 * 1024 * 1024;

/** `FROTA_CONFIG_DIR`, else `frota` in `XDG_CONFIG_HOME`, else in `~/.config`. */
export function configFolder(environment: Environment): string {
  const own = environment['FROTA_CONFIG_DIR'];
  if (own !== undefined && own !== '') return own;
  const xdg = environment['XDG_CONFIG_HOME'];
  // The XDG specification has relative paths ignored.
  if (xdg?.startsWith('/') === true) return join(xdg, 'frota');
  const home = environment['HOME'];
  if (home === undefined || home === '') {
    throw new FrotaError(
      'invalid',
      'neither HOME nor FROTA_CONFIG_DIR is set; set one, so that contexts have a folder',
    );
  }
  return join(home, '.config', 'frota');
}

const contextsPath = (folder: string): string => join(folder, 'contexts.json');

/** @throws FrotaError `corrupt` for a file that holds something else, `forbidden` for one that may not be read */
export async function readContexts(folder: string): Promise<Contexts> {
  const path = contextsPath(folder);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return noContexts;
    throw new FrotaError('forbidden', `can't read the contexts in ${path}`, { cause: thrown });
  }
  return parseContexts(text, path);
}

/** Writes or replaces one. It becomes current if `use` says so, or if none is. */
export function upsertContext(folder: string, name: string, context: ClusterContext, use = false): Promise<void> {
  checkContextName(name);
  return changeContexts(folder, (before) => ({
    current: use || before.current === null ? name : before.current,
    contexts: { ...before.contexts, [name]: context },
  }));
}

/**
 * A context as a controller writes it at its first start (`admin-context.json`).
 * @throws FrotaError `not-found` when there is no such file, `invalid` when it holds something else
 */
export async function readContextFile(path: string): Promise<ClusterContext> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    throw new FrotaError('not-found', `can't read a context from ${path}`, { cause: thrown });
  }
  const notOne = new FrotaError(
    'invalid',
    `${path} holds no context: a controller writes one as DATA/admin-context.json`,
  );
  try {
    const parsed: unknown = JSON.parse(text);
    if (isContext(parsed)) return parsed;
  } catch {
    // The parser's own message quotes the text, which may hold a private key.
  }
  throw notOne;
}

/** No error if there is none of that name. */
export function removeContext(folder: string, name: string): Promise<void> {
  return changeContexts(folder, (before) => ({
    current: before.current === name ? null : before.current,
    contexts: Object.fromEntries(Object.entries(before.contexts).filter(([key]) => key !== name)),
  }));
}

/** @throws FrotaError `not-found` */
export function useContext(folder: string, name: string): Promise<void> {
  return changeContexts(folder, (before) => {
    knownContext(before, name, '');
    return { ...before, current: name };
  });
}

/**
 * The context to talk to: `--context`, else `FROTA_CONTEXT`, else the current one.
 * @throws FrotaError `not-found`; the message says how to get one
 */
export function chooseContext(
  contexts: Contexts,
  fromFlag: string | undefined,
  environment: Environment,
): { readonly name: string; readonly context: ClusterContext } {
  const fromEnvironment = environment['FROTA_CONTEXT'];
  if (fromFlag !== undefined) return knownContext(contexts, fromFlag, ' (from --context)');
  if (fromEnvironment !== undefined && fromEnvironment !== '') {
    return knownContext(contexts, fromEnvironment, ' (from FROTA_CONTEXT)');
  }
  if (contexts.current !== null) return knownContext(contexts, contexts.current, '');
  const names = Object.keys(contexts.contexts);
  throw new FrotaError(
    'not-found',
    names.length === 0
      ? 'no context yet: `frota cluster up` starts a local cluster and writes one'
      : `no context is current: choose one with \`frota context use NAME\` (${names.join(', ')})`,
  );
}

function knownContext(contexts: Contexts, name: string, origin: string): { name: string; context: ClusterContext } {
  const context = Object.hasOwn(contexts.contexts, name) ? contexts.contexts[name] : undefined;
  if (context !== undefined) return { name, context };
  const names = Object.keys(contexts.contexts);
  const known = names.length === 0 ? '`frota cluster up` starts a local cluster' : `there are: ${names.join(', ')}`;
  throw new FrotaError('not-found', `no context "${name}"${origin}; ${known}`);
}

function checkContextName(name: string): void {
  if (/^[\w][\w.-]{0,62}$/u.test(name) && name !== '__proto__') return;
  throw new FrotaError('invalid', `"${name}" is no context name: letters, digits, ".", "_" and "-", at most 63`);
}

async function changeContexts(folder: string, change: (before: Contexts) => Contexts): Promise<void> {
  const path = contextsPath(folder);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await withLock(`${path}.lock`, async () => {
      const after = change(await readContexts(folder));
      await replaceFile(path, `${JSON.stringify(after, null, 2)}\n`);
    });
  } catch (thrown) {
    if (thrown instanceof FrotaError) throw thrown;
    throw new FrotaError('forbidden', `can't write the contexts in ${path}`, { cause: thrown });
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${String(process.pid)}.new`;
  try {
    // A leftover of a writer that was killed is replaced; `O_NOFOLLOW` keeps a planted link from being followed.
    await rm(temporary, { force: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const file = await open(temporary, flags, 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

function parseContexts(text: string, path: string): Contexts {
  const damaged = (why: string): FrotaError =>
    new FrotaError('corrupt', `${path} is damaged (${why}); move it away, then \`frota cluster up\` writes a new one`);
  if (text.length > maxFileBytes) throw damaged('it is too large');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, which holds private keys.
    throw damaged('it is not JSON');
  }
  if (!isRecord(parsed) || !isRecord(parsed['contexts'])) throw damaged('"contexts" is missing');
  const current = parsed['current'] ?? null;
  if (current !== null && typeof current !== 'string') throw damaged('"current" is no name');
  const contexts = Object.entries(parsed['contexts']).map(([name, value]): [string, ClusterContext] => {
    if (!isContext(value)) throw damaged(`context "${name}" lacks addresses, ca, certificate or key`);
    const { addresses, ca, certificate, key, registry } = value;
    return [name, { addresses, ca, certificate, key, ...(registry !== undefined && { registry }) }];
  });
  return { current, contexts: Object.fromEntries(contexts) };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isContext(value: unknown): value is ClusterContext {
  if (!isRecord(value)) return false;
  const { addresses, ca, certificate, key, registry } = value;
  const texts = [ca, certificate, key, registry ?? ''];
  if (!Array.isArray(addresses) || addresses.length === 0) return false;
  return addresses.every((address) => typeof address === 'string') && texts.every((text) => typeof text === 'string');
}
