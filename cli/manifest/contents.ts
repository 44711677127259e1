/** The top level's `configs` and `secrets`, and how services mount them. */
import type { FileMount } from '../../proto/domain/mount.ts';
import { isResourceName, resourceNameRule } from '../../proto/domain/validate-parts.ts';
import { contentKeys, fileMountKeys } from './compose-keys.ts';
import { nearestWord } from './near.ts';
import { parseFileMode, parseWhole } from './quantities.ts';
import type { ContentOrigin, DeclaredContent } from './scope.ts';
import { readFlag } from './stack-parts.ts';
import type { TreeEntry, TreeNode } from './tree.ts';
import { joinPath, quoteFound } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

export function readContents(
  reader: ValueReader,
  entry: TreeEntry | undefined,
  kind: FileMount['kind'],
): ReadonlyMap<string, DeclaredContent> {
  const contents = new Map<string, DeclaredContent>();
  const section = `${kind}s`;
  if (entry === undefined || (entry.value.kind === 'scalar' && entry.value.value === null)) return contents;
  for (const item of reader.map(entry.value, section)?.entries ?? []) {
    if (item.key.startsWith('x-')) continue;
    const path = joinPath(section, item.key);
    if (!isResourceName(item.key)) {
      reader.problem(item.at, path, resourceNameRule);
      continue;
    }
    // One that could not be read is known all the same, so that references to it are no second problem.
    const origin = readOrigin(reader, item, kind, path) ?? { kind: 'text', text: '' };
    contents.set(item.key, { ...item.at, kind, key: item.key, path, origin });
  }
  return contents;
}

const origins = ['file', 'content', 'environment'] as const;

function readOrigin(
  reader: ValueReader,
  { at, value }: TreeEntry,
  kind: FileMount['kind'],
  path: string,
): ContentOrigin | undefined {
  const fields = reader.fields(value, path, contentKeys);
  if (fields === undefined) return undefined;
  if (readFlag(reader, fields.get('external')?.value, joinPath(path, 'external'))) {
    const message = `a ${kind} made outside of the file is not supported by this version; write "file", "content" or "environment"`;
    reader.problem(fields.get('external')?.at ?? at, joinPath(path, 'external'), message);
    return undefined;
  }
  const given = origins.filter((key) => fields.has(key));
  const [from] = given;
  if (from === undefined || given.length > 1) {
    const found = from === undefined ? 'none is there' : `there are ${given.join(' and ')}`;
    reader.problem(at, path, `expected one of "file", "content" and "environment"; ${found}`);
    return undefined;
  }
  const node = fields.get(from)?.value;
  const text = node === undefined ? undefined : reader.string(node, joinPath(path, from));
  if (node === undefined || text === undefined) return undefined;
  if (from === 'file') return { kind: 'file', path: text };
  if (from === 'content') return { kind: 'text', text };
  const held = reader.environment[text];
  if (held !== undefined) return { kind: 'text', text: held };
  reader.problem(node, joinPath(path, from), `the variable ${text} is not set here; set it, or write "file"`);
  return undefined;
}

/** Where Docker puts them. */
const folders: Readonly<Record<FileMount['kind'], string>> = { config: '/', secret: '/run/secrets/' };

export function readFileMounts(
  reader: ValueReader,
  node: TreeNode | undefined,
  path: string,
  kind: FileMount['kind'],
  declared: ReadonlyMap<string, DeclaredContent>,
): readonly FileMount[] {
  if (node === undefined) return [];
  return (reader.list(node, path)?.items ?? []).flatMap((item, index): FileMount[] => {
    const itemPath = `${path}[${String(index)}]`;
    const mount = item.kind === 'map' ? longForm(reader, item, itemPath) : shortForm(reader, item, itemPath);
    if (mount === undefined) return [];
    const { source, target = source, ...rest } = mount;
    if (!declared.has(source)) {
      const message = `there is no ${kind} "${source}"; declare it under "${kind}s" at the top level`;
      reader.problem(item, itemPath, message, nearestWord(source, declared.keys()));
    }
    const absolute = target.startsWith('/') ? target : folders[kind] + target;
    return [{ kind, name: source, contentId: '', target: absolute, ...rest }];
  });
}

interface WrittenMount extends Pick<FileMount, 'uid' | 'gid' | 'mode'> {
  readonly source: string;
  readonly target?: string;
}

function shortForm(reader: ValueReader, node: TreeNode, path: string): WrittenMount | undefined {
  const source = reader.string(node, path, 'a name, or a mapping with "source"');
  return source === undefined ? undefined : { source };
}

function longForm(reader: ValueReader, node: TreeNode, path: string): WrittenMount | undefined {
  const fields = reader.fields(node, path, fileMountKeys);
  if (fields === undefined) return undefined;
  const sourceNode = fields.get('source')?.value;
  if (sourceNode === undefined) {
    reader.problem(node, joinPath(path, 'source'), 'missing; name a config or secret of the top level');
    return undefined;
  }
  const source = reader.string(sourceNode, joinPath(path, 'source'));
  const targetNode = fields.get('target')?.value;
  const target = targetNode === undefined ? undefined : reader.string(targetNode, joinPath(path, 'target'));
  const uid = readId(reader, fields.get('uid')?.value, joinPath(path, 'uid'));
  const gid = readId(reader, fields.get('gid')?.value, joinPath(path, 'gid'));
  const mode = readMode(reader, fields.get('mode')?.value, joinPath(path, 'mode'));
  if (source === undefined) return undefined;
  return {
    source,
    ...(target !== undefined && target !== '' && { target }),
    ...(uid !== undefined && { uid }),
    ...(gid !== undefined && { gid }),
    ...(mode !== undefined && { mode }),
  };
}

/** The kernel's ids have 32 bits; the last one means "no id". */
const maxId = 2 ** 32 - 2;

function readId(reader: ValueReader, node: TreeNode | undefined, path: string): number | undefined {
  if (node === undefined) return undefined;
  const text = reader.stringOrNumber(node, path, 'a numeric id such as "1000"');
  if (text === undefined) return undefined;
  const id = parseWhole(text);
  if (id !== undefined && id <= maxId) return id;
  reader.problem(node, path, `expected a numeric id such as "1000", found ${quoteFound(node, text)}`);
  return undefined;
}

/** Octal as written, whatever YAML made of it. */
export function readMode(reader: ValueReader, node: TreeNode | undefined, path: string): number | undefined {
  if (node === undefined) return undefined;
  const expected = 'permission bits such as 0440';
  const text = reader.stringOrNumber(node, path, expected);
  if (text === undefined) return undefined;
  const mode = parseFileMode(text);
  if (mode === undefined) reader.problem(node, path, `expected ${expected}, found ${quoteFound(node, text)}`);
  return mode;
}
