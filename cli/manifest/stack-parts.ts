/** The top level's `networks` and `volumes`. */
import type { NetworkSpec, VolumeSpec } from '../../proto/domain/stack-parts.ts';
import { isResourceName, resourceNameRule } from '../../proto/domain/validate-parts.ts';
import { networkKeys, volumeKeys } from './compose-keys.ts';
import type { KeyScope } from './compose-keys.ts';
import type { TreeEntry, TreeNode } from './tree.ts';
import { joinPath } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

/** What networks and volumes have in common. */
interface Part {
  readonly key: string;
  readonly name: string;
  readonly external: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

/** Every service is in `default` unless it names others; like any other it may be declared. */
export const defaultNetworkKey = 'default';

export function readNetworks(
  reader: ValueReader,
  entry: TreeEntry | undefined,
  stack: string,
): ReadonlyMap<string, NetworkSpec> {
  const networks = new Map<string, NetworkSpec>();
  readParts(reader, entry, 'networks', (item, path) => {
    const fields = partFields(reader, item.value, path, networkKeys);
    const part = readPart(reader, item, fields, path, stack);
    for (const [key, why] of Object.entries(ignoredNetworkKeys)) {
      const found = fields?.get(key);
      if (found !== undefined) reader.findings.notice(found.at, joinPath(path, key), `without effect: ${why}`);
    }
    checkNetworkDriver(reader, fields, path);
    const internal = readFlag(reader, fields?.get('internal')?.value, joinPath(path, 'internal'));
    networks.set(item.key, { ...part, internal });
  });
  if (!networks.has(defaultNetworkKey)) {
    const name = `${stack}_${defaultNetworkKey}`;
    networks.set(defaultNetworkKey, { key: defaultNetworkKey, name, external: false, internal: false, labels: {} });
  }
  return networks;
}

const ignoredNetworkKeys: Readonly<Record<string, string>> = {
  attachable: 'only the services of stacks join networks',
  enable_ipv4: 'every network has IPv4',
  ipam: 'the cluster chooses the addresses',
};

/** Whatever a network is called elsewhere, here it reaches across the nodes. */
function checkNetworkDriver(
  reader: ValueReader,
  fields: ReadonlyMap<string, TreeEntry> | undefined,
  path: string,
): void {
  const driver = fields?.get('driver')?.value;
  if (driver !== undefined) {
    const name = reader.string(driver, joinPath(path, 'driver'));
    if (name !== undefined && name !== 'overlay' && name !== 'bridge' && name !== '') {
      reader.problem(
        driver,
        joinPath(path, 'driver'),
        `"${name}" is no driver of Frota; leave it out, or write "overlay"`,
      );
    }
  }
  const options = fields?.get('driver_opts');
  if (options === undefined) return;
  const at = joinPath(path, 'driver_opts');
  const given = reader.pairs(options.value, at, () => '');
  for (const key of Object.keys(given)) {
    // What must not be plain is never plain in silence.
    if (key === 'encrypted') reader.problem(options.at, joinPath(at, key), 'not supported by this version of Frota');
    else reader.findings.notice(options.at, joinPath(at, key), 'without effect: it is an option of another driver');
  }
}

export function readVolumes(
  reader: ValueReader,
  entry: TreeEntry | undefined,
  stack: string,
): ReadonlyMap<string, VolumeSpec> {
  const volumes = new Map<string, VolumeSpec>();
  readParts(reader, entry, 'volumes', (item, path) => {
    const fields = partFields(reader, item.value, path, volumeKeys);
    const driver = fields?.get('driver')?.value;
    if (driver !== undefined) {
      const name = reader.string(driver, joinPath(path, 'driver'));
      if (name !== undefined && name !== 'local' && name !== '') {
        reader.problem(driver, joinPath(path, 'driver'), `"${name}" is no driver of Frota; only "local" is`);
      }
    }
    volumes.set(item.key, readPart(reader, item, fields, path, stack));
  });
  return volumes;
}

function readParts(
  reader: ValueReader,
  entry: TreeEntry | undefined,
  path: string,
  read: (item: TreeEntry, path: string) => void,
): void {
  if (entry === undefined || (entry.value.kind === 'scalar' && entry.value.value === null)) return;
  for (const item of reader.map(entry.value, path)?.entries ?? []) {
    if (item.key.startsWith('x-')) continue;
    const itemPath = joinPath(path, item.key);
    if (isResourceName(item.key)) read(item, itemPath);
    else reader.problem(item.at, itemPath, resourceNameRule);
  }
}

/** A bare `data:` is as good as an empty mapping. */
function partFields(
  reader: ValueReader,
  node: TreeNode,
  path: string,
  keys: KeyScope,
): ReadonlyMap<string, TreeEntry> | undefined {
  return node.kind === 'scalar' && node.value === null ? undefined : reader.fields(node, path, keys);
}

function readPart(
  reader: ValueReader,
  { key }: TreeEntry,
  fields: ReadonlyMap<string, TreeEntry> | undefined,
  path: string,
  stack: string,
): Part {
  const labels = fields?.get('labels')?.value;
  const external = readExternal(reader, fields?.get('external')?.value, joinPath(path, 'external'));
  const nameNode = fields?.get('name')?.value;
  const written = nameNode === undefined ? external.name : reader.string(nameNode, joinPath(path, 'name'));
  if (written !== undefined && !isResourceName(written)) {
    reader.problem(
      nameNode ?? fields?.get('external')?.value ?? { line: 1, column: 1 },
      joinPath(path, 'name'),
      resourceNameRule,
    );
  }
  return {
    key,
    name: written ?? (external.external ? key : `${stack}_${key}`),
    external: external.external,
    labels: labels === undefined ? {} : reader.pairs(labels, joinPath(path, 'labels'), () => ''),
  };
}

/** `true`, or the older form `{name: …}`. */
function readExternal(
  reader: ValueReader,
  node: TreeNode | undefined,
  path: string,
): { readonly external: boolean; readonly name?: string } {
  if (node?.kind !== 'map') return { external: readFlag(reader, node, path) };
  const nameNode = reader.fields(node, path, { supported: ['name'], refused: {} })?.get('name')?.value;
  const name = nameNode === undefined ? undefined : reader.string(nameNode, joinPath(path, 'name'));
  return { external: true, ...(name !== undefined && { name }) };
}

export function readFlag(reader: ValueReader, node: TreeNode | undefined, path: string): boolean {
  return node === undefined ? false : (reader.boolean(node, path) ?? false);
}
