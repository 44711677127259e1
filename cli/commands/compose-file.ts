import { createReadStream } from 'node:fs';
import { access, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { FrotaError } from '../../proto/base/errors.ts';
import { maxContentBytes } from '../../proto/domain/content.ts';
import type { Content } from '../../proto/domain/content.ts';
import type { StackSpec } from '../../proto/domain/service.ts';
import { loadComposeFile } from '../manifest/load.ts';
import type { DeclaredContent } from '../manifest/scope.ts';
import type { ManifestProblem } from '../manifest/problem.ts';
import { problemText } from '../manifest/problem.ts';
import { maxFileLength } from '../manifest/yaml-tree.ts';
import { ManifestError } from '../render/manifest-error.ts';
import { printable } from '../render/text.ts';
import type { Host } from './host.ts';
import { imageProblem } from './image-reference.ts';

/** In the order in which Compose prefers them. */
export const defaultFiles = ['compose.yaml', 'compose.yml', 'docker-compose.yaml', 'docker-compose.yml'];

interface Source {
  /** For messages. */
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly folder: string;
}

/** What is declared, and the bytes of the configs and secrets that its services mount. */
export interface ReadStack {
  readonly spec: StackSpec;
  readonly contents: readonly Content[];
}

/**
 * Finds, reads and loads the Compose file and the files it refers to; notices go to standard error.
 * @throws ManifestError with every problem of the file; FrotaError `not-found` when there is no file
 */
export async function readComposeFile(
  host: Host,
  file: string | undefined,
  stackName: string | undefined,
): Promise<ReadStack> {
  const source = file === '-' ? await standardInput(host) : await readSource(host, file ?? (await findFile(host)));
  const text = decode(source);
  const result = loadComposeFile({
    file: source.file,
    text,
    environment: host.environment,
    directoryName: basename(source.folder),
    imageProblem,
    ...(stackName !== undefined && { stackName }),
  });
  for (const notice of result.notices) notify(host, problemText(notice));
  if (await exists(join(source.folder, '.env'))) {
    notify(
      host,
      `${relative(host.cwd, join(source.folder, '.env'))} is not read by this version; export its variables`,
    );
  }
  if (result.kind === 'problems') throw new ManifestError(source.file, result.problems, text);
  const { contents, problems } = await readContents(source, result.contents);
  if (problems.length > 0) throw new ManifestError(source.file, problems, text);
  return { spec: result.spec, contents };
}

/** All that can't be read is told at once. */
async function readContents(source: Source, declared: readonly DeclaredContent[]) {
  const contents: Content[] = [];
  const problems: ManifestProblem[] = [];
  for (const { kind, key, origin, path, line, column } of declared) {
    try {
      const bytes =
        origin.kind === 'text' ? new TextEncoder().encode(origin.text) : await readContent(source, origin.path);
      contents.push({ kind, name: key, bytes });
    } catch (thrown) {
      problems.push({ file: source.file, line, column, path, message: FrotaError.from(thrown).message });
    }
  }
  return { contents, problems };
}

/** @throws FrotaError that says what is wrong with the file, in words that fit behind its place. */
async function readContent(source: Source, path: string): Promise<Uint8Array> {
  const full = resolve(source.folder, path);
  try {
    const { size } = await stat(full);
    if (size > maxContentBytes) {
      const limit = `${String(maxContentBytes / 1024)} KiB`;
      throw new FrotaError('invalid', `${path} is too large: a config or secret has at most ${limit}`);
    }
    return await readFile(full);
  } catch (thrown) {
    if (thrown instanceof FrotaError) throw thrown;
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code === 'ENOENT')
      throw new FrotaError('not-found', `there is no file ${path} (looked for beside the Compose file)`);
    if (code === 'EISDIR') throw new FrotaError('invalid', `${path} is a folder; name a file`);
    throw new FrotaError('invalid', `can't read ${path}: ${code ?? String(thrown)}`);
  }
}

function notify(host: Host, text: string): void {
  const { terminal } = host;
  terminal.err(`${terminal.errColours.yellow('notice:')} ${printable(text)}\n`);
}

async function standardInput(host: Host): Promise<Source> {
  return { file: '<stdin>', bytes: await readBounded('<stdin>', host.stdin()), folder: host.cwd };
}

async function findFile(host: Host): Promise<string> {
  const found: string[] = [];
  for (const name of defaultFiles) if (await exists(join(host.cwd, name))) found.push(name);
  const [first, second] = found;
  if (first === undefined) {
    throw new FrotaError('not-found', `no ${defaultFiles.join(', ')} in this folder; name the file with -f`);
  }
  if (second !== undefined) notify(host, `${found.join(' and ')} are here; ${first} is taken`);
  return first;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

async function readSource(host: Host, file: string): Promise<Source> {
  const path = resolve(host.cwd, file);
  try {
    return { file, bytes: await readBounded(file, createReadStream(path)), folder: dirname(path) };
  } catch (thrown) {
    if (thrown instanceof FrotaError) throw thrown;
    const code = (thrown as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw new FrotaError('not-found', `no file ${file}`);
    if (code === 'EISDIR') throw new FrotaError('invalid', `${file} is a folder; name the Compose file in it`);
    throw new FrotaError('invalid', `can't read ${file}`, { cause: thrown });
  }
}

/** Four bytes a character at the most: what is larger can't be a file that the loader takes, and is not read on. */
const maxFileBytes = maxFileLength * 4;

/** Pipes and devices have no size to ask for, so the reading itself is bounded. */
async function readBounded(file: string, stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > maxFileBytes) {
      const limit = `${String(maxFileLength / 1024)} KiB`;
      throw new FrotaError('invalid', `${file} is too large: a Compose file has at most ${limit}`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function decode({ file, bytes }: Source): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (thrown) {
    throw new FrotaError('invalid', `${file} is not UTF-8 text`, { cause: thrown });
  }
}
