import type { RestartPolicy, ServiceSpec, TaskTemplate } from '../../proto/domain/service.ts';
import { isAlias } from '../../proto/domain/validate-parts.ts';
import { maxNameLength, maxStopGracePeriodMs } from '../../proto/domain/validate.ts';
import { serviceKeys } from './compose-keys.ts';
import { readFileMounts } from './contents.ts';
import { defaultDeploy, readDeploy } from './deploy.ts';
import { readDuration } from './durations.ts';
import { readFrotaKeys } from './frota-keys.ts';
import { readHealthCheck } from './health-check.ts';
import { readMounts } from './mounts.ts';
import { nearestWord } from './near.ts';
import { readPorts } from './ports.ts';
import type { DeclaredPort } from './ports.ts';
import { parseWhole } from './quantities.ts';
import { noticeConfinedPorts, readDependsOn, readServiceNetworks } from './relations.ts';
import type { StackScope } from './scope.ts';
import { withOwnKeys } from './service-resources.ts';
import { splitShellWords } from './shell-words.ts';
import { shorten } from './tree.ts';
import type { TreeEntry, TreeNode } from './tree.ts';
import { joinPath, quoteFound } from './value-reader.ts';
import type { ValueReader } from './value-reader.ts';

/** Compose's own default. */
export const defaultStopGracePeriodMs = 10_000;

export interface DeclaredService {
  readonly spec: ServiceSpec;
  readonly ports: readonly DeclaredPort[];
}

/** Reads one service. What could not be read is already among the findings and stands as its default. */
export function readService(
  reader: ValueReader,
  entry: TreeEntry,
  path: string,
  scope: StackScope,
): DeclaredService | undefined {
  const { key: name, at, value: node } = entry;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9._-]*$/u.test(name) || name.length > maxNameLength) {
    const rule = `letters, digits, ".", "_" and "-", begins with one of the first two, and has at most ${String(maxNameLength)} of them`;
    reader.problem(at, path, `a service's name consists of ${rule}`);
  }
  if (node.kind === 'scalar' && node.value === null) {
    reader.problem(at, path, 'the service is empty; it needs at least "image"');
    return undefined;
  }
  const fields = reader.fields(node, path, serviceKeys);
  if (fields === undefined) return undefined;
  const image = readImage(reader, entry, fields.get('image'), path);
  const portsNode = fields.get('ports')?.value;
  const ports = portsNode === undefined ? [] : readPorts(reader, portsNode, joinPath(path, 'ports'));
  const deployNode = fields.get('deploy')?.value;
  const declared = deployNode === undefined ? defaultDeploy : readDeploy(reader, deployNode, joinPath(path, 'deploy'));
  const deploy = withOwnKeys(reader, fields, path, declared);
  const template: TaskTemplate = {
    image: { reference: image ?? '', digest: '' },
    ...readProcess(reader, fields, path),
    environment: readEnvironment(reader, fields.get('environment')?.value, joinPath(path, 'environment')),
    labels: readLabels(reader, fields.get('labels')?.value, joinPath(path, 'labels')),
    limits: deploy.limits,
    reservations: deploy.reservations,
    stopGracePeriodMs: readStopGracePeriod(reader, fields.get('stop_grace_period')?.value, path),
    ...readSurroundings(reader, entry, fields, path, scope),
    generation: 0,
  };
  if (portsNode !== undefined && ports.length > 0) {
    noticeConfinedPorts(reader, portsNode, joinPath(path, 'ports'), template.networks, scope);
  }
  const restart = readRestart(reader, fields.get('restart')?.value, joinPath(path, 'restart'));
  const expose = fields.get('expose');
  if (expose !== undefined) {
    reader.findings.notice(
      expose.at,
      joinPath(path, 'expose'),
      'without effect: containers of one network reach each other on every port',
    );
  }
  const spec: ServiceSpec = {
    name,
    template,
    mode: deploy.mode,
    replicas: deploy.replicas ?? 1,
    restart: deploy.restart ?? restart,
    ports: ports.map((port) => port.spec),
    labels: deploy.labels,
    placement: deploy.placement,
    update: deploy.update,
    rollback: deploy.rollback,
    dependsOn: readDependsOn(reader, fields.get('depends_on')?.value, joinPath(path, 'depends_on')),
    pullPolicy: readPullPolicy(reader, fields.get('pull_policy')?.value, joinPath(path, 'pull_policy')),
  };
  return { spec, ports };
}

type Surroundings = Pick<
  TaskTemplate,
  'drainDelayMs' | 'fenceLeaseMs' | 'files' | 'healthCheck' | 'mounts' | 'networks'
>;

/** What a container finds around its process. */
function readSurroundings(
  reader: ValueReader,
  entry: TreeEntry,
  fields: ReadonlyMap<string, TreeEntry>,
  path: string,
  scope: StackScope,
): Surroundings {
  const at = (key: string): string => joinPath(path, key);
  const value = (key: string): TreeNode | undefined => fields.get(key)?.value;
  const healthCheck = readHealthCheck(reader, value('healthcheck'), at('healthcheck'));
  const containerName = readContainerName(reader, fields.get('container_name'), at('container_name'));
  return {
    ...readFrotaKeys(reader, entry.value, path),
    ...(healthCheck !== undefined && { healthCheck }),
    mounts: readMounts(reader, fields, path, scope),
    files: [
      ...readFileMounts(reader, value('configs'), at('configs'), 'config', scope.configs),
      ...readFileMounts(reader, value('secrets'), at('secrets'), 'secret', scope.secrets),
    ],
    networks: readServiceNetworks(reader, value('networks'), at('networks'), scope, containerName),
  };
}

/** Others may know the container by it, so it becomes a name of the service. */
function readContainerName(reader: ValueReader, entry: TreeEntry | undefined, path: string): readonly string[] {
  const name = entry && reader.string(entry.value, path);
  if (entry === undefined || name === undefined) return [];
  if (!isAlias(name)) {
    reader.problem(entry.value, path, `"${shorten(name)}" is no host name`);
    return [];
  }
  reader.findings.notice(
    entry.at,
    path,
    'becomes an alias of the service; its containers are named stack/service.slot',
  );
  return [name];
}

function readImage(
  reader: ValueReader,
  service: TreeEntry,
  image: TreeEntry | undefined,
  path: string,
): string | undefined {
  const imagePath = joinPath(path, 'image');
  if (image === undefined) {
    // `build` is refused where it stands, with what to write instead: once is enough.
    const builds = service.value.kind === 'map' && service.value.entries.some((entry) => entry.key === 'build');
    if (builds) return undefined;
    const hint = 'write for example "image: registry.example.com/team/app:1.2"';
    reader.problem(service.at, imagePath, `missing; ${hint}`);
    return undefined;
  }
  const reference = reader.string(image.value, imagePath);
  if (reference === undefined) return undefined;
  const wrong = reader.imageProblem(reference);
  if (wrong === undefined) return reference;
  reader.problem(image.value, imagePath, wrong);
  return undefined;
}

const pullPolicyHints = new Map([
  ['never', 'every image comes from a registry here: push it to one, and write "missing"'],
  ['build', 'build the image, push it to a registry the nodes reach, and write "always"'],
  ['daily', 'a tag is asked for at an apply only: write "always", and apply as often as you like'],
]);

/** A node always pulls by digest, and only what it lacks; the policy says when a tag is asked for anew. */
function readPullPolicy(reader: ValueReader, node: TreeNode | undefined, path: string): ServiceSpec['pullPolicy'] {
  const policy = node && reader.string(node, path);
  if (node === undefined || policy === undefined || policy === 'always') return 'always';
  if (policy === 'missing' || policy === 'if_not_present') return 'missing';
  const kind = policy === 'weekly' || /^every_\w+$/u.test(policy) ? 'daily' : policy;
  const hint = pullPolicyHints.get(kind);
  const near = nearestWord(policy, ['always', 'missing', 'if_not_present']);
  const known = near === undefined ? 'write "always" or "missing"' : `did you mean "${near}"?`;
  reader.problem(
    node,
    path,
    hint === undefined
      ? `"${shorten(policy)}" is no pull policy; ${known}`
      : `"${shorten(policy)}" is not supported; ${hint}`,
  );
  return 'always';
}

type ProcessFields = Pick<TaskTemplate, 'command' | 'entrypoint' | 'stopSignal' | 'user' | 'workingDir'>;

function readProcess(reader: ValueReader, fields: ReadonlyMap<string, TreeEntry>, path: string): ProcessFields {
  const text = (key: string): string | undefined => {
    const node = fields.get(key)?.value;
    return node === undefined ? undefined : reader.string(node, joinPath(path, key));
  };
  const entrypoint = readWords(reader, fields.get('entrypoint')?.value, joinPath(path, 'entrypoint'));
  const command = readWords(reader, fields.get('command')?.value, joinPath(path, 'command'));
  const user = text('user');
  const workingDir = text('working_dir');
  const stopSignal = text('stop_signal');
  if (workingDir !== undefined && workingDir !== '' && !workingDir.startsWith('/')) {
    const node = fields.get('working_dir')?.value ?? { line: 1, column: 1 };
    const message = `expected an absolute path, found "${shorten(workingDir)}"; write "/${shorten(workingDir)}"`;
    reader.problem(node, joinPath(path, 'working_dir'), message);
  }
  return {
    ...(entrypoint !== undefined && { entrypoint }),
    ...(command !== undefined && { command }),
    ...(user !== undefined && user !== '' && { user }),
    ...(workingDir !== undefined && workingDir !== '' && { workingDir }),
    ...(stopSignal !== undefined && stopSignal !== '' && { stopSignal }),
  };
}

/** A string is split into words, a list is taken as it is, nothing means the image's own. */
function readWords(reader: ValueReader, node: TreeNode | undefined, path: string): readonly string[] | undefined {
  if (node === undefined || (node.kind === 'scalar' && node.value === null)) return undefined;
  if (node.kind === 'list') return reader.strings(node, path);
  const line = reader.string(node, path, 'a string or a list of strings');
  if (line === undefined) return undefined;
  const split = splitShellWords(line);
  if (split.kind === 'problem') {
    reader.problem(node, path, split.message);
    return undefined;
  }
  const words = split.words.map((word) => reader.checkedArgument(node, path, word));
  return words.includes(undefined) ? undefined : split.words;
}

function readEnvironment(reader: ValueReader, node: TreeNode | undefined, path: string): Record<string, string> {
  return node === undefined ? {} : reader.pairs(node, path, (key, at) => reader.inherited(key, at, path));
}

function readLabels(reader: ValueReader, node: TreeNode | undefined, path: string): Record<string, string> {
  return node === undefined ? {} : reader.pairs(node, path, () => '');
}

function readStopGracePeriod(reader: ValueReader, node: TreeNode | undefined, parent: string): number {
  const path = joinPath(parent, 'stop_grace_period');
  return readDuration(reader, node, path, maxStopGracePeriodMs) ?? defaultStopGracePeriodMs;
}

const restartWords = ['no', 'always', 'on-failure', 'unless-stopped'];

function readRestart(reader: ValueReader, node: TreeNode | undefined, path: string): RestartPolicy {
  const any: RestartPolicy = { condition: 'any' };
  if (node === undefined) return any;
  // A bare `no` is the boolean false to a YAML 1.1 reader.
  if (node.kind === 'scalar' && node.value === false) return { condition: 'none' };
  const text = reader.string(node, path, restartWords.map((word) => `"${word}"`).join(', '));
  if (text === undefined) return any;
  const [condition = '', attempts, ...more] = text.split(':');
  if (attempts === undefined || condition !== 'on-failure') {
    if (text === 'no') return { condition: 'none' };
    if (text === 'always' || text === 'unless-stopped') return any;
    if (text === 'on-failure') return { condition: 'on-failure' };
    const message = `expected "no", "always", "on-failure", "on-failure:3" or "unless-stopped", found ${quoteFound(node, text)}`;
    reader.problem(node, path, message, nearestWord(text, restartWords));
    return any;
  }
  const maxAttempts = more.length > 0 ? undefined : parseWhole(attempts);
  if (maxAttempts === undefined || maxAttempts > maxRestartAttempts) {
    reader.problem(node, path, `expected "on-failure:N" with a whole number N, found ${quoteFound(node, text)}`);
    return any;
  }
  // As in Docker, zero means no bound.
  return maxAttempts === 0 ? { condition: 'on-failure' } : { condition: 'on-failure', maxAttempts };
}

/** It travels as a 32-bit number; so many attempts are no bound any more. */
const maxRestartAttempts = 1_000_000;
