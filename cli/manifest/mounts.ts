/** A service's `volumes` and `tmpfs`. */
import type { Mount } from '../../proto/domain/mount.ts';
import { bindKeys, mountKeys, tmpfsKeys, volumeMountKeys } from './compose-keys.ts';
import { readMode } from './contents.ts';
import { nearestWord } from './near.ts';
import { parseBytes, parseFileMode } from './quantities.ts';
import type { StackScope } from './scope.ts';
import { readFlag } from './stack-parts.ts';
import { shorten } from './tree.ts';
import type { TreeEntry, TreeNode } from './tree.ts';
import { joinPath, quoteFound } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

export function readMounts(
  reader: ValueReader,
  fields: ReadonlyMap<string, TreeEntry>,
  path: string,
  scope: StackScope,
): readonly Mount[] {
  const volumes = fields.get('volumes')?.value;
  const tmpfs = fields.get('tmpfs')?.value;
  const volumesPath = joinPath(path, 'volumes');
  const mounts =
    volumes === undefined
      ? []
      : (reader.list(volumes, volumesPath)?.items ?? []).flatMap((item, index) => {
          const itemPath = `${volumesPath}[${String(index)}]`;
          const mount =
            item.kind === 'map' ? longForm(reader, item, itemPath, scope) : shortForm(reader, item, itemPath, scope);
          return mount === undefined ? [] : [mount];
        });
  return [...mounts, ...(tmpfs === undefined ? [] : readTmpfs(reader, tmpfs, joinPath(path, 'tmpfs')))];
}

const expectedMount = 'a mount such as "data:/var/lib/data", "/srv/www:/www:ro" or "/cache"';
/** They say how Docker Desktop or SELinux is to treat the mount; here there is neither. */
const emptyModes = new Set(['z', 'Z', 'cached', 'delegated', 'consistent', 'rw', 'rprivate', 'private']);

/** `[SOURCE:]TARGET[:MODES]` */
function shortForm(reader: ValueReader, node: TreeNode, path: string, scope: StackScope): Mount | undefined {
  const text = reader.string(node, path, expectedMount);
  if (text === undefined) return undefined;
  const [first = '', second, modes = '', ...more] = text.split(':');
  if (more.length > 0 || first === '' || second === '') {
    reader.problem(node, path, `expected ${expectedMount}, found ${quoteFound(node, text)}`);
    return undefined;
  }
  if (second === undefined) return { kind: 'volume', target: first, readOnly: false, noCopy: false };
  const words = modes === '' ? [] : modes.split(',');
  const unknown = words.find((word) => word !== 'ro' && word !== 'nocopy' && !emptyModes.has(word));
  if (unknown !== undefined) {
    reader.problem(node, path, `"${shorten(unknown)}" is no mode of a mount; there are "ro", "rw" and "nocopy"`);
    return undefined;
  }
  const readOnly = words.includes('ro');
  if (!isPath(first))
    return namedVolume(reader, node, path, scope, first, {
      target: second,
      readOnly,
      noCopy: words.includes('nocopy'),
    });
  return absoluteSource(reader, node, path, first)
    ? { kind: 'bind', source: first, target: second, readOnly, createSource: true }
    : undefined;
}

const isPath = (source: string): boolean => /^[./~]/u.test(source);

function namedVolume(
  reader: ValueReader,
  node: TreeNode,
  path: string,
  scope: StackScope,
  key: string,
  rest: Omit<Extract<Mount, { kind: 'volume' }>, 'kind' | 'volume'>,
): Mount | undefined {
  const declared = scope.volumes.get(key);
  if (declared !== undefined) return { kind: 'volume', volume: declared.name, ...rest };
  const message = `there is no volume "${shorten(key)}"; declare it under "volumes" at the top level`;
  reader.problem(node, path, message, nearestWord(key, scope.volumes.keys()));
  return undefined;
}

/** A path relative to the Compose file is a path of this machine; which node would have it? */
function absoluteSource(reader: ValueReader, node: TreeNode, path: string, source: string): boolean {
  if (source.startsWith('/')) return true;
  const choices = 'an absolute path that exists on the nodes, a named volume, or a config or secret for single files';
  reader.problem(
    node,
    path,
    `"${shorten(source)}" is a path of this machine, which the nodes don't have; write ${choices}`,
  );
  return false;
}

const kinds = ['volume', 'bind', 'tmpfs'] as const;

function longForm(reader: ValueReader, node: TreeNode, path: string, scope: StackScope): Mount | undefined {
  const fields = reader.fields(node, path, mountKeys);
  if (fields === undefined) return undefined;
  const text = (key: string): string | undefined => {
    const value = fields.get(key)?.value;
    return value === undefined ? undefined : reader.string(value, joinPath(path, key));
  };
  const typeNode = fields.get('type')?.value;
  const type = text('type');
  const kind = kinds.find((each) => each === type);
  if (typeNode === undefined || kind === undefined) {
    const found = type === undefined ? '' : `, found "${shorten(type)}"`;
    reader.problem(
      typeNode ?? node,
      joinPath(path, 'type'),
      `expected "volume", "bind" or "tmpfs"${found}`,
      type === undefined ? undefined : nearestWord(type, kinds),
    );
    return undefined;
  }
  const target = text('target');
  if (target === undefined || target === '') {
    reader.problem(node, joinPath(path, 'target'), 'missing; write the path in the container');
    return undefined;
  }
  const readOnly = readFlag(reader, fields.get('read_only')?.value, joinPath(path, 'read_only'));
  const source = text('source');
  switch (kind) {
    case 'volume':
      return longVolume(reader, { fields, node, path, scope }, source, { target, readOnly });
    case 'bind':
      return longBind(reader, { fields, node, path, scope }, source, { target, readOnly });
    case 'tmpfs':
      return longTmpfs(reader, { fields, node, path, scope }, { target, readOnly });
  }
}

interface LongForm {
  readonly fields: ReadonlyMap<string, TreeEntry>;
  readonly node: TreeNode;
  readonly path: string;
  readonly scope: StackScope;
}

interface Common {
  readonly target: string;
  readonly readOnly: boolean;
}

function longVolume(
  reader: ValueReader,
  form: LongForm,
  source: string | undefined,
  common: Common,
): Mount | undefined {
  const optionsPath = joinPath(form.path, 'volume');
  const options = optionFields(reader, form, 'volume', volumeMountKeys);
  const noCopy = readFlag(reader, options?.get('nocopy')?.value, joinPath(optionsPath, 'nocopy'));
  const subpathNode = options?.get('subpath')?.value;
  const subpath = subpathNode === undefined ? undefined : reader.string(subpathNode, joinPath(optionsPath, 'subpath'));
  const rest = { ...common, noCopy, ...(subpath !== undefined && subpath !== '' && { subpath }) };
  if (source === undefined || source === '') return { kind: 'volume', ...rest };
  return namedVolume(
    reader,
    form.fields.get('source')?.value ?? form.node,
    joinPath(form.path, 'source'),
    form.scope,
    source,
    rest,
  );
}

function longBind(reader: ValueReader, form: LongForm, source: string | undefined, common: Common): Mount | undefined {
  const options = optionFields(reader, form, 'bind', bindKeys);
  const createNode = options?.get('create_host_path')?.value;
  const createSource =
    createNode === undefined
      ? false
      : (reader.boolean(createNode, joinPath(joinPath(form.path, 'bind'), 'create_host_path')) ?? false);
  const sourcePath = joinPath(form.path, 'source');
  if (source === undefined || source === '') {
    reader.problem(form.node, sourcePath, 'missing; write the absolute path on the node');
    return undefined;
  }
  const at = form.fields.get('source')?.value ?? form.node;
  return absoluteSource(reader, at, sourcePath, source) ? { kind: 'bind', source, ...common, createSource } : undefined;
}

function longTmpfs(reader: ValueReader, form: LongForm, common: Common): Mount {
  const options = optionFields(reader, form, 'tmpfs', tmpfsKeys);
  const optionsPath = joinPath(form.path, 'tmpfs');
  const sizeNode = options?.get('size')?.value;
  const sizeBytes = sizeNode === undefined ? undefined : readSize(reader, sizeNode, joinPath(optionsPath, 'size'));
  const mode = readMode(reader, options?.get('mode')?.value, joinPath(optionsPath, 'mode'));
  return {
    kind: 'tmpfs',
    ...common,
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(mode !== undefined && { mode }),
  };
}

function optionFields(
  reader: ValueReader,
  { fields, path }: LongForm,
  key: 'volume' | 'bind' | 'tmpfs',
  keys: typeof bindKeys,
): ReadonlyMap<string, TreeEntry> | undefined {
  const node = fields.get(key)?.value;
  return node === undefined ? undefined : reader.fields(node, joinPath(path, key), keys);
}

function readSize(reader: ValueReader, node: TreeNode, path: string): number | undefined {
  const expected = 'a size such as "64M"';
  const text = reader.stringOrNumber(node, path, expected);
  if (text === undefined) return undefined;
  const bytes = parseBytes(text);
  if (bytes === undefined) reader.problem(node, path, `expected ${expected}, found ${quoteFound(node, text)}`);
  // Zero means the kernel's default, as in Docker.
  return bytes === 0 ? undefined : bytes;
}

/** `tmpfs`: one or several of `/run` and `/run:size=64m,mode=1777`. */
function readTmpfs(reader: ValueReader, node: TreeNode, path: string): readonly Mount[] {
  const items = node.kind === 'list' ? node.items : [node];
  return items.flatMap((item, index): Mount[] => {
    const itemPath = node.kind === 'list' ? `${path}[${String(index)}]` : path;
    const text = reader.string(item, itemPath, 'a path such as "/run", or a list of them');
    if (text === undefined) return [];
    const colon = text.indexOf(':');
    const target = colon < 0 ? text : text.slice(0, colon);
    const options =
      colon < 0
        ? []
        : text
            .slice(colon + 1)
            .split(',')
            .filter((word) => word !== '');
    return [{ kind: 'tmpfs', target, ...tmpfsOptions(reader, item, itemPath, options) }];
  });
}

function tmpfsOptions(
  reader: ValueReader,
  node: TreeNode,
  path: string,
  options: readonly string[],
): Omit<Extract<Mount, { kind: 'tmpfs' }>, 'kind' | 'target'> {
  let read: Omit<Extract<Mount, { kind: 'tmpfs' }>, 'kind' | 'target'> = { readOnly: false };
  for (const option of options) {
    const [key = '', value = ''] = option.split('=');
    const sizeBytes = key === 'size' ? parseBytes(value) : undefined;
    const mode = key === 'mode' ? parseFileMode(value) : undefined;
    if (sizeBytes !== undefined) read = { ...read, sizeBytes };
    else if (mode !== undefined) read = { ...read, mode };
    else if (option === 'ro') read = { ...read, readOnly: true };
    else if (option !== 'rw' && option !== 'nosuid' && option !== 'nodev') {
      reader.problem(
        node,
        path,
        `"${shorten(option)}" is no option of a tmpfs here; there are "size=64m", "mode=1777" and "ro"`,
      );
    }
  }
  return read;
}
