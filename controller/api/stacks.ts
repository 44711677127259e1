/** Use-cases that change what is declared: apply, scale, remove. Each ends in one conditional put of the stack's record. */
import pLimit from 'p-limit';
import { FrotaError } from '../../proto/base/errors.ts';
import type { Problem } from '../../proto/base/errors.ts';
import type { ApplyReply } from '../../proto/codec/control.ts';
import type { Clock } from '../../proto/base/clock.ts';
import type { Content } from '../../proto/domain/content.ts';
import type { ResolvedImage, ServiceSpec, Stack, StackSpec } from '../../proto/domain/service.ts';
import { validateStackSpec } from '../../proto/domain/validate.ts';
import { portConflicts } from '../network/port-conflicts.ts';
import { canonicalJson } from '../plan/canonical-json.ts';
import type { Snapshot, Stored } from '../plan/snapshot.ts';
import { fillContents } from './contents.ts';

export interface StackPorts {
  readonly snapshot: () => Snapshot;
  /** Tag → digest, asked of the registry now. @throws FrotaError that names image and registry. */
  readonly resolveImage: (reference: string, signal: AbortSignal) => Promise<ResolvedImage>;
  /**
   * Puts (or, with `undefined`, deletes) the stack's record if it still has `modRevision`; resolves when the snapshot
   * shows it. False: somebody else was first.
   */
  readonly putStack: (name: string, stack: Stack | undefined, modRevision: number) => Promise<boolean>;
  /** Identity of a config's or secret's content; a secret's does not betray it. */
  readonly contentId: (content: Content) => string;
  /** By id. Durable when it resolves; those that are there already count as new again. */
  readonly putContents: (contents: ReadonlyMap<string, Content>) => Promise<void>;
  readonly clock: Clock;
}

export interface ScaleRequest {
  readonly stack: string;
  readonly service: string;
  readonly replicas: number;
}

export interface ScaleResult extends ScaleRequest {
  readonly before: number;
}

/** Two people who write the same stack at the same instant: after this many rounds the later one is told. */
const maxScaleRounds = 5;

/**
 * Tags are resolved to digests before anything is written; configs and secrets are written before the stack that refers to
 * them; a stack is accepted whole or not at all.
 */
export async function applyStack(
  ports: StackPorts,
  declared: StackSpec,
  by: string,
  signal: AbortSignal,
  sent: readonly Content[] = [],
): Promise<ApplyReply> {
  const snapshot = ports.snapshot();
  const current = snapshot.stacks.get(declared.name);
  const isStored = (id: string): boolean => snapshot.contents.has(id);
  const filled = fillContents(declared, { sent, current: current?.value.spec, isStored, idOf: ports.contentId });
  refuseProblems(declared.name, [...validateStackSpec(declared), ...filled.problems]);
  const services = [...snapshot.services.values()].map(({ value }) => value);
  refuseProblems(declared.name, portConflicts(declared, otherSpecs(snapshot, declared.name), services));
  const spec = await resolveImages(ports, filled.spec, signal);
  // Again, for what has become of it: digests have been filled in, and others may have applied meanwhile.
  refuseProblems(declared.name, validateStackSpec(spec));
  const later = ports.snapshot();
  const held = [...later.services.values()].map(({ value }) => value);
  refuseProblems(declared.name, portConflicts(spec, otherSpecs(later, declared.name), held));
  const result = compareSpecs(current?.value.spec, spec);
  const allStored = [...filled.contents.keys()].every(isStored);
  if (current !== undefined && !result.changed && allStored) return { ...result, version: current.value.version };
  await ports.putContents(filled.contents);
  const version = (current?.value.version ?? 0) + 1;
  const appliedAtMs = ports.clock.now().wallMs;
  const stack: Stack = { spec, version, declaredVersion: version, appliedAtMs, appliedBy: by };
  if (!(await ports.putStack(spec.name, stack, current?.modRevision ?? 0))) throw changedMeanwhile(spec.name);
  return { ...result, version };
}

export async function scaleServices(
  ports: StackPorts,
  requests: readonly ScaleRequest[],
  by: string,
): Promise<readonly ScaleResult[]> {
  const stacks = new Set(requests.map((request) => request.stack));
  const results: ScaleResult[] = [];
  for (const name of stacks) {
    const ofStack = requests.filter((request) => request.stack === name);
    results.push(...(await scaleStack(ports, name, ofStack, by)));
  }
  return results;
}

async function scaleStack(
  ports: StackPorts,
  name: string,
  requests: readonly ScaleRequest[],
  by: string,
): Promise<readonly ScaleResult[]> {
  for (let round = 0; round < maxScaleRounds; round += 1) {
    const current = existingStack(ports.snapshot(), name);
    const wanted = new Map(requests.map((request) => [request.service, request.replicas]));
    refuseUnfit(name, requests, current.value.spec.services);
    const services = current.value.spec.services.map((service) => ({
      ...service,
      replicas: wanted.get(service.name) ?? service.replicas,
    }));
    const spec: StackSpec = { ...current.value.spec, services };
    refuseProblems(name, validateStackSpec(spec));
    const before = new Map(current.value.spec.services.map((service) => [service.name, service.replicas]));
    const results = requests.map((request) => ({ ...request, before: before.get(request.service) ?? 0 }));
    if (results.every((result) => result.before === result.replicas)) return results;
    const stack: Stack = {
      ...current.value,
      spec,
      version: current.value.version + 1,
      appliedAtMs: ports.clock.now().wallMs,
      appliedBy: by,
    };
    if (await ports.putStack(name, stack, current.modRevision)) return results;
  }
  throw changedMeanwhile(name);
}

/** A service that is going can't be scaled, nor a global one, nor one to two sizes at once. */
function refuseUnfit(stack: string, requests: readonly ScaleRequest[], declared: readonly ServiceSpec[]): void {
  const modes = new Map(declared.map(({ name, mode }) => [name, mode]));
  for (const [index, { service }] of requests.entries()) {
    if (modes.get(service) === 'global') {
      const hint = 'label nodes, and choose them with deploy.placement.constraints';
      throw new FrotaError('invalid', `service ${stack}/${service} is global, one task on each node; ${hint}`);
    }
    if (!modes.has(service)) {
      throw new FrotaError('not-found', `service ${stack}/${service} is no longer declared; it is being removed`);
    }
    if (requests.findIndex((other) => other.service === service) !== index) {
      throw new FrotaError('invalid', `service ${stack}/${service} is named twice; give it one number of replicas`);
    }
  }
}

/** @returns the names of the services that go. */
export async function removeStack(ports: StackPorts, name: string): Promise<readonly string[]> {
  const current = existingStack(ports.snapshot(), name);
  if (!(await ports.putStack(name, undefined, current.modRevision))) throw changedMeanwhile(name);
  return current.value.spec.services.map((service) => service.name);
}

function existingStack(snapshot: Snapshot, name: string): Stored<Stack> {
  const current = snapshot.stacks.get(name);
  if (current !== undefined) return current;
  const known = [...snapshot.stacks.keys()].sort();
  const hint = known.length === 0 ? 'there are no stacks' : `there are: ${known.join(', ')}`;
  throw new FrotaError('not-found', `there is no stack "${name}"; ${hint}`);
}

function otherSpecs(snapshot: Snapshot, except: string): readonly StackSpec[] {
  return [...snapshot.stacks.values()].map(({ value }) => value.spec).filter((spec) => spec.name !== except);
}

function refuseProblems(stack: string, problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const [first] = problems;
  const summary =
    problems.length === 1 && first !== undefined
      ? `${first.where}: ${first.message}`
      : `${String(problems.length)} problems`;
  throw new FrotaError('invalid', `stack "${stack}" was not accepted: ${summary}`, { problems });
}

const changedMeanwhile = (name: string): FrotaError =>
  new FrotaError(
    'conflict',
    `stack "${name}" was changed by somebody else at the same moment; nothing was done, try again`,
  );

/** Registries are asked for this many tags at a time. */
const maxConcurrentResolves = 8;

/** Each reference is asked for once; all that fail are told together. */
async function resolveImages(ports: StackPorts, declared: StackSpec, signal: AbortSignal): Promise<StackSpec> {
  const limited = pLimit(maxConcurrentResolves);
  const references = [...new Set(declared.services.map((service) => service.template.image.reference))];
  const outcomes = await Promise.allSettled(
    references.map((reference) => limited(() => ports.resolveImage(reference, signal))),
  );
  const resolved = new Map<string, ResolvedImage>();
  const failures = new Map<string, FrotaError>();
  outcomes.forEach((outcome, index) => {
    const reference = references[index] ?? '';
    if (outcome.status === 'fulfilled') resolved.set(reference, outcome.value);
    else failures.set(reference, FrotaError.from(outcome.reason));
  });
  const [failure] = failures.values();
  if (failure !== undefined) {
    const problems = declared.services.flatMap((service) => {
      const error = failures.get(service.template.image.reference);
      return error === undefined ? [] : [{ where: `services.${service.name}.image`, message: error.message }];
    });
    throw new FrotaError(failure.code, `stack "${declared.name}" was not accepted: ${failure.message}`, {
      cause: failure,
      problems,
    });
  }
  const services = declared.services.map((service): ServiceSpec => {
    const image = resolved.get(service.template.image.reference) ?? service.template.image;
    return { ...service, template: { ...service.template, image } };
  });
  services.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { ...declared, services };
}

function compareSpecs(before: StackSpec | undefined, after: StackSpec): Omit<ApplyReply, 'version'> {
  const old = new Map((before?.services ?? []).map((service) => [service.name, service]));
  const next = new Map(after.services.map((service) => [service.name, service]));
  const names = [...next.keys()];
  const same = (name: string): boolean => canonicalJson(old.get(name)) === canonicalJson(next.get(name));
  const created = names.filter((name) => !old.has(name));
  const updated = names.filter((name) => old.has(name) && !same(name));
  const unchanged = names.filter((name) => old.has(name) && same(name));
  const removed = [...old.keys()].filter((name) => !next.has(name));
  return { changed: created.length + updated.length + removed.length > 0, created, updated, removed, unchanged };
}
