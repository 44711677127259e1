import type { ServiceSpec, StackSpec } from '../../proto/domain/service.ts';
import { topLevelKeys } from './compose-keys.ts';
import { readContents } from './contents.ts';
import { reportDomainProblems } from './final-check.ts';
import type { Environment } from './interpolate.ts';
import { reportPortConflicts } from './ports.ts';
import { Findings } from './problem.ts';
import type { ManifestProblem } from './problem.ts';
import type { DeclaredContent, StackScope } from './scope.ts';
import { readService } from './service.ts';
import type { DeclaredService } from './service.ts';
import { readNetworks, readVolumes } from './stack-parts.ts';
import { isStackName, normaliseStackName, stackNameRule } from './stack-name.ts';
import type { TreeEntry } from './tree.ts';
import { joinPath, ValueReader } from './value-reader.ts';
import type { ImageProblem } from './value-reader.ts';
import { parseYamlTree } from './yaml-tree.ts';

export interface ComposeInput {
  /** As the person named it; it is repeated in every problem. */
  readonly file: string;
  readonly text: string;
  /** Where `${VAR}` and `KEY` without a value look. */
  readonly environment: Environment;
  /** From `-n`; wins over the file's `name`. */
  readonly stackName?: string;
  /** The last part of the folder's path: the stack's name where nothing else gives one. */
  readonly directoryName: string;
  /** Judges an image reference: the grammar belongs to `proto/oci`, which this room does not import. */
  readonly imageProblem: ImageProblem;
}

export type ComposeResult =
  | {
      readonly kind: 'ok';
      readonly spec: StackSpec;
      /** Configs and secrets that a service mounts, to be read and sent along. */
      readonly contents: readonly DeclaredContent[];
      readonly notices: readonly ManifestProblem[];
    }
  | {
      readonly kind: 'problems';
      readonly problems: readonly ManifestProblem[];
      readonly notices: readonly ManifestProblem[];
    };

/**
 * A Compose file (Compose Specification; the keys in `docs/compose.md`) → what it declares, or all of its problems at
 * once, sorted by position. Pure; it never throws for any text.
 */
export function loadComposeFile(input: ComposeInput): ComposeResult {
  const findings = new Findings(input.file);
  const read = readStack(input, findings);
  if (read === undefined || findings.hasProblems) {
    return { kind: 'problems', problems: findings.problems(), notices: findings.notices() };
  }
  return { kind: 'ok', ...read, notices: findings.notices() };
}

interface ReadStack {
  readonly spec: StackSpec;
  readonly contents: readonly DeclaredContent[];
}

function readStack(input: ComposeInput, findings: Findings): ReadStack | undefined {
  const tree = parseYamlTree(input.text, findings);
  if (tree === undefined) return undefined;
  const reader = new ValueReader(input.environment, findings, input.imageProblem);
  const fields = reader.fields(tree, '', topLevelKeys);
  if (fields === undefined) return undefined;
  const version = fields.get('version');
  if (version !== undefined) {
    findings.notice(version.at, 'version', 'obsolete and without effect; leave it out');
  }
  const name = readStackName(input, reader, fields.get('name'));
  const scope: StackScope = {
    networks: readNetworks(reader, fields.get('networks'), name ?? ''),
    volumes: readVolumes(reader, fields.get('volumes'), name ?? ''),
    configs: readContents(reader, fields.get('configs'), 'config'),
    secrets: readContents(reader, fields.get('secrets'), 'secret'),
  };
  const services = readServices(reader, fields.get('services'), scope);
  if (name === undefined || findings.hasProblems) return undefined;
  const spec = { name, services, networks: usedNetworks(scope, services), volumes: sortedByKey(scope.volumes) };
  reportDomainProblems(spec, tree, findings);
  return { spec, contents: usedContents(scope, services) };
}

const sortedByKey = <T extends { readonly key: string }>(parts: ReadonlyMap<string, T>): readonly T[] =>
  [...parts.values()].sort((a, b) => (a.key < b.key ? -1 : 1));

/** As in Compose, a network that no service is in is not made. */
function usedNetworks(scope: StackScope, services: readonly ServiceSpec[]): StackSpec['networks'] {
  const used = new Set(services.flatMap(({ template }) => template.networks.map(({ network }) => network)));
  return sortedByKey(scope.networks).filter(({ name }) => used.has(name));
}

function usedContents(scope: StackScope, services: readonly ServiceSpec[]): readonly DeclaredContent[] {
  const files = services.flatMap(({ template }) => template.files);
  const isUsed = ({ kind, key }: DeclaredContent): boolean =>
    files.some((file) => file.kind === kind && file.name === key);
  return [...scope.configs.values(), ...scope.secrets.values()].filter(isUsed);
}

function readStackName(input: ComposeInput, reader: ValueReader, entry: TreeEntry | undefined): string | undefined {
  const start = { line: 1, column: 1 };
  const written = entry === undefined ? undefined : reader.string(entry.value, 'name');
  if (input.stackName !== undefined) {
    if (isStackName(input.stackName)) return input.stackName;
    reader.problem(start, '', `"${input.stackName}" is no stack name: ${stackNameRule}`);
    return undefined;
  }
  if (entry !== undefined) {
    if (written === undefined) return undefined;
    if (isStackName(written)) return written;
    reader.problem(entry.value, 'name', stackNameRule);
    return undefined;
  }
  const fromDirectory = normaliseStackName(input.directoryName);
  if (fromDirectory !== '') return fromDirectory;
  reader.problem(start, '', 'the folder\'s name makes no stack name; write "name:" at the top, or give -n');
  return undefined;
}

function readServices(reader: ValueReader, entry: TreeEntry | undefined, scope: StackScope): StackSpec['services'] {
  if (entry === undefined) {
    reader.problem({ line: 1, column: 1 }, 'services', 'missing; a Compose file declares at least one service');
    return [];
  }
  const map = reader.map(entry.value, 'services');
  if (map === undefined) return [];
  const declared = map.entries
    .filter(({ key }) => !key.startsWith('x-'))
    .map((service) => readService(reader, service, joinPath('services', service.key), scope))
    .filter((service): service is DeclaredService => service !== undefined);
  if (map.entries.length === 0) reader.problem(entry.at, 'services', 'declares no service');
  reportPortConflicts(
    reader,
    declared.flatMap((service) => service.ports),
  );
  return declared.map((service) => service.spec).sort((a, b) => (a.name < b.name ? -1 : 1));
}
