import type { PortSpec, Protocol } from '../../proto/domain/service.ts';
import { maxPortsPerService } from '../../proto/domain/validate.ts';
import { portKeys } from './compose-keys.ts';
import type { Position } from './problem.ts';
import { parseWhole } from './quantities.ts';
import { shorten } from './tree.ts';
import type { TreeNode, TreeScalar } from './tree.ts';
import { joinPath, quoteFound } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

const expectedPort = 'a port such as 80, "8080:80" or "53:53/udp"';

/** A port and where it was declared, so that two services that want the same one can be named. */
export interface DeclaredPort {
  readonly spec: PortSpec;
  readonly at: Position;
  readonly path: string;
}

export function readPorts(reader: ValueReader, node: TreeNode, path: string): readonly DeclaredPort[] {
  const list = reader.list(node, path);
  if (list === undefined) return [];
  const ports: DeclaredPort[] = [];
  for (const [index, item] of list.items.entries()) {
    const itemPath = `${path}[${String(index)}]`;
    const specs = item.kind === 'map' ? longPort(reader, item, itemPath) : shortPort(reader, item, itemPath);
    for (const spec of specs) ports.push({ spec, at: item, path: itemPath });
  }
  if (ports.length > maxPortsPerService) {
    reader.problem(list, path, `${String(ports.length)} ports; a service may have ${String(maxPortsPerService)}`);
    return [];
  }
  return ports;
}

/** `[PUBLISHED:]TARGET[/PROTOCOL]`, each side a port or a range of ports. */
function shortPort(reader: ValueReader, node: TreeNode, path: string): readonly PortSpec[] {
  const text = reader.stringOrNumber(node, path, expectedPort);
  if (text === undefined) return [];
  const fail = (message: string): readonly PortSpec[] => {
    reader.problem(node, path, message);
    return [];
  };
  const [address, protocolText, ...more] = text.split('/');
  const protocol = parseProtocol(protocolText ?? 'tcp');
  if (more.length > 0 || address === undefined)
    return fail(`expected ${expectedPort}, found ${quoteFound(node, text)}`);
  if (protocol === undefined) return fail(unknownProtocol(protocolText ?? ''));
  const lastColon = address.lastIndexOf(':');
  const beforeTarget = lastColon < 0 ? '' : address.slice(0, lastColon);
  const hostColon = beforeTarget.lastIndexOf(':');
  if (hostColon >= 0) {
    const plain = `${address.slice(hostColon + 1)}${protocolText === undefined ? '' : `/${protocolText}`}`;
    const host = shorten(beforeTarget.slice(0, hostColon));
    return fail(`every node publishes on all of its addresses, so "${host}" can't be chosen; write "${plain}"`);
  }
  const targets = parseRange(address.slice(lastColon + 1));
  const published = beforeTarget === '' ? undefined : parseRange(beforeTarget);
  if (targets === undefined || (beforeTarget !== '' && published === undefined)) {
    return fail(`expected ${expectedPort} with ports from 1 to 65535, found ${quoteFound(node, text)}`);
  }
  if (published !== undefined && published.length !== targets.length) {
    return fail(
      `${String(published.length)} published ports for ${String(targets.length)} in the container; write one for one`,
    );
  }
  if (targets.length > maxPortsPerService) {
    return fail(`${String(targets.length)} ports; a service may have ${String(maxPortsPerService)}`);
  }
  return targets.map((target, index) => portSpec(target, published?.[index], protocol));
}

function longPort(reader: ValueReader, node: TreeNode, path: string): readonly PortSpec[] {
  const fields = reader.fields(node, path, portKeys);
  if (fields === undefined) return [];
  const target = fields.get('target');
  if (target === undefined) {
    reader.problem(node, path, 'needs "target", the port in the container');
    return [];
  }
  const targetPort = reader.whole(target.value, joinPath(path, 'target'), 1, maxPort);
  const published = fields.get('published');
  const publishedPort = published === undefined ? 'chosen' : longPublished(reader, published.value, path);
  const protocol = longWord(reader, fields.get('protocol')?.value, joinPath(path, 'protocol'), 'tcp');
  const mode = longWord(reader, fields.get('mode')?.value, joinPath(path, 'mode'), 'ingress');
  const parsed = protocol === undefined ? undefined : parseProtocol(protocol.text);
  if (protocol !== undefined && parsed === undefined) {
    reader.problem(protocol.at ?? node, joinPath(path, 'protocol'), unknownProtocol(protocol.text));
  }
  if (mode !== undefined && mode.text !== 'ingress') {
    const message =
      mode.text === 'host'
        ? 'not supported by this version of Frota; leave it out: every node publishes the port'
        : `expected "ingress", found "${shorten(mode.text)}"`;
    reader.problem(mode.at ?? node, joinPath(path, 'mode'), message);
  }
  if (targetPort === undefined || publishedPort === undefined || parsed === undefined) return [];
  return [portSpec(targetPort, publishedPort === 'chosen' ? undefined : publishedPort, parsed)];
}

function longPublished(reader: ValueReader, node: TreeNode, path: string): number | 'chosen' | undefined {
  const publishedPath = joinPath(path, 'published');
  const text = reader.stringOrNumber(node, publishedPath, 'a port from 1 to 65535');
  // Compose takes an empty string for "not given": the usual outcome of a variable that is not set.
  if (text === undefined || text === '') return text === '' ? 'chosen' : undefined;
  if (text.includes('-')) {
    const message =
      "a range for one port in the container can't be served by every node; write one port, or leave it out";
    reader.problem(node, publishedPath, message);
    return undefined;
  }
  return reader.whole(node, publishedPath, 1, maxPort);
}

function longWord(
  reader: ValueReader,
  node: TreeNode | undefined,
  path: string,
  absent: string,
): { readonly text: string; readonly at?: TreeScalar } | undefined {
  if (node === undefined) return { text: absent };
  const text = reader.string(node, path);
  return text === undefined || node.kind !== 'scalar' ? undefined : { text, at: node };
}

const maxPort = 65_535;

/** `8000` or `8000-8003` → the ports; undefined for anything else. */
function parseRange(text: string): readonly number[] | undefined {
  const [firstText = '', lastText = firstText, ...more] = text.split('-');
  const first = parseWhole(firstText);
  const last = parseWhole(lastText);
  if (more.length > 0 || first === undefined || last === undefined) return undefined;
  if (first < 1 || last > maxPort || last < first) return undefined;
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

function parseProtocol(text: string): Protocol | undefined {
  const lower = text.toLowerCase();
  return lower === 'tcp' || lower === 'udp' ? lower : undefined;
}

const unknownProtocol = (text: string): string => `expected protocol tcp or udp, found "${shorten(text)}"`;

function portSpec(target: number, published: number | undefined, protocol: Protocol): PortSpec {
  return published === undefined ? { target, protocol } : { target, published, protocol };
}

/** A published port exists once in a cluster, so two declarations of it in one file contradict each other. */
export function reportPortConflicts(reader: ValueReader, ports: readonly DeclaredPort[]): void {
  const taken = new Map<string, DeclaredPort>();
  for (const port of ports) {
    const { published, protocol } = port.spec;
    if (published === undefined) continue;
    const key = `${String(published)}/${protocol}`;
    const earlier = taken.get(key);
    if (earlier === undefined) {
      taken.set(key, port);
      continue;
    }
    const where = `${earlier.path} on line ${String(earlier.at.line)}`;
    reader.problem(port.at, port.path, `port ${key} is already published by ${where}`);
  }
}
