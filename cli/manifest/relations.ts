/** How a service stands to others: its `networks`, its `depends_on`. */
import type { Dependency, NetworkAttachment } from '../../proto/domain/stack-parts.ts';
import { isAlias } from '../../proto/domain/validate-parts.ts';
import { dependencyKeys, serviceNetworkKeys } from './compose-keys.ts';
import { nearestWord } from './near.ts';
import type { StackScope } from './scope.ts';
import { defaultNetworkKey, readFlag } from './stack-parts.ts';
import type { TreeEntry, TreeNode } from './tree.ts';
import { shorten } from './tree.ts';
import { joinPath } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

/** Sorted by the network's name. `alsoKnownAs`: names it has in each of them besides. */
export function readServiceNetworks(
  reader: ValueReader,
  node: TreeNode | undefined,
  path: string,
  scope: StackScope,
  alsoKnownAs: readonly string[],
): readonly NetworkAttachment[] {
  const written = node === undefined || isNothing(node) ? [] : readAttachments(reader, node, path);
  const found = written.length > 0 ? written : [{ key: defaultNetworkKey, at: node ?? nowhere, aliases: [] }];
  const attachments = found.flatMap(({ key, at, aliases }): NetworkAttachment[] => {
    const declared = scope.networks.get(key);
    if (declared !== undefined) return [{ network: declared.name, aliases: sortedOnce([...aliases, ...alsoKnownAs]) }];
    const message = `there is no network "${shorten(key)}"; declare it under "networks" at the top level`;
    reader.problem(at, joinPath(path, key), message, nearestWord(key, scope.networks.keys()));
    return [];
  });
  return attachments.sort((a, b) => (a.network < b.network ? -1 : 1));
}

/** What is published of a service that is on internal networks only leads nowhere, as in Docker: said before anybody looks for it. */
export function noticeConfinedPorts(
  reader: ValueReader,
  ports: TreeNode,
  path: string,
  attachments: readonly NetworkAttachment[],
  scope: StackScope,
): void {
  const internal = new Set([...scope.networks.values()].filter((each) => each.internal).map(({ name }) => name));
  if (attachments.length === 0 || !attachments.every(({ network }) => internal.has(network))) return;
  const names = attachments.map(({ network }) => network).join(', ');
  const what = attachments.length === 1 ? `its network ${names} is internal` : `its networks ${names} are internal`;
  reader.findings.notice(
    ports,
    path,
    `connections to them are refused: ${what}; put the service on another network as well, or leave "ports" out`,
  );
}

const nowhere = { line: 1, column: 1 };
const isNothing = (node: TreeNode): boolean => node.kind === 'scalar' && node.value === null;
const sortedOnce = (names: readonly string[]): readonly string[] => [...new Set(names)].sort();

interface WrittenAttachment {
  readonly key: string;
  readonly at: { readonly line: number; readonly column: number };
  readonly aliases: readonly string[];
}

function readAttachments(reader: ValueReader, node: TreeNode, path: string): readonly WrittenAttachment[] {
  if (node.kind === 'list') {
    return node.items.flatMap((item, index) => {
      const key = reader.string(item, `${path}[${String(index)}]`);
      return key === undefined ? [] : [{ key, at: item, aliases: [] }];
    });
  }
  return (reader.map(node, path)?.entries ?? []).map(({ key, at, value }) => ({
    key,
    at,
    aliases: isNothing(value) ? [] : readAliases(reader, value, joinPath(path, key)),
  }));
}

function readAliases(reader: ValueReader, node: TreeNode, path: string): readonly string[] {
  const fields = reader.fields(node, path, serviceNetworkKeys);
  const priority = fields?.get('priority');
  if (priority !== undefined) {
    reader.findings.notice(
      priority.at,
      joinPath(path, 'priority'),
      'without effect: a container has one address in all of its networks',
    );
  }
  const list = fields?.get('aliases')?.value;
  const aliasesPath = joinPath(path, 'aliases');
  if (list === undefined) return [];
  return (reader.list(list, aliasesPath)?.items ?? []).flatMap((item, index) => {
    const itemPath = `${aliasesPath}[${String(index)}]`;
    const alias = reader.string(item, itemPath);
    if (alias === undefined || isAlias(alias)) return alias === undefined ? [] : [alias];
    reader.problem(item, itemPath, `"${shorten(alias)}" is no host name`);
    return [];
  });
}

const conditions = new Map<string, Dependency['condition']>([
  ['service_started', 'started'],
  ['service_healthy', 'healthy'],
  ['service_completed_successfully', 'completed'],
]);

/** Sorted by service. Whether those services exist, and wait for each other in a circle, is seen when all are read. */
export function readDependsOn(reader: ValueReader, node: TreeNode | undefined, path: string): readonly Dependency[] {
  if (node === undefined) return [];
  const found = new Map<string, Dependency>();
  if (node.kind === 'list') {
    for (const [index, item] of node.items.entries()) {
      const service = reader.string(item, `${path}[${String(index)}]`);
      if (service !== undefined) found.set(service, { service, condition: 'started', required: true });
    }
  } else {
    for (const entry of reader.map(node, path)?.entries ?? []) {
      if (!entry.key.startsWith('x-')) found.set(entry.key, readDependency(reader, entry, joinPath(path, entry.key)));
    }
  }
  return [...found.values()].sort((a, b) => (a.service < b.service ? -1 : 1));
}

function readDependency(reader: ValueReader, { key, value }: TreeEntry, path: string): Dependency {
  const plain: Dependency = { service: key, condition: 'started', required: true };
  const fields = reader.fields(value, path, dependencyKeys);
  if (fields === undefined) return plain;
  const restart = fields.get('restart');
  if (restart !== undefined && readFlag(reader, restart.value, joinPath(path, 'restart'))) {
    reader.findings.notice(
      restart.at,
      joinPath(path, 'restart'),
      'without effect: an update of one service does not restart another',
    );
  }
  const requiredNode = fields.get('required')?.value;
  const required =
    requiredNode === undefined ? true : (reader.boolean(requiredNode, joinPath(path, 'required')) ?? true);
  const conditionNode = fields.get('condition')?.value;
  if (conditionNode === undefined) return { ...plain, required };
  const conditionPath = joinPath(path, 'condition');
  const word = reader.string(conditionNode, conditionPath);
  const condition = conditions.get(word ?? 'service_started');
  if (condition === undefined) {
    const known = [...conditions.keys()];
    reader.problem(
      conditionNode,
      conditionPath,
      `expected ${known.map((each) => `"${each}"`).join(', ')}, found "${shorten(word ?? '')}"`,
      nearestWord(word ?? '', known),
    );
  }
  return { service: key, condition: condition ?? 'started', required };
}
