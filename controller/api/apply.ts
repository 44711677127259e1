/** Use-case: a stack is declared, whole. Tags get their digests, configs and secrets the ids of their contents. */
import pLimit from 'p-limit';
import { describeError, FrotaError } from '../../proto/base/errors.ts';
import type { ApplyReply } from '../../proto/codec/control.ts';
import type { Content } from '../../proto/domain/content.ts';
import type { ResolvedImage, ServiceSpec, StackSpec } from '../../proto/domain/service.ts';
import { validateStackSpec } from '../../proto/domain/validate.ts';
import { portConflicts } from '../network/port-conflicts.ts';
import { canonicalJson } from '../plan/canonical-json.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { fillContents } from './contents.ts';
import { acceptChange, changedMeanwhile, failedUpdates, notAccepted, refuseProblems } from './stacks.ts';
import type { StackPorts } from './stacks.ts';

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
  refuseConflicts(snapshot, declared);
  const resolved = await resolveImages(ports, filled.spec, current?.value.spec, signal);
  const spec = withGenerations(resolved, current?.value.spec);
  // Again, for what has become of it: digests have been filled in, and others may have applied meanwhile.
  refuseProblems(declared.name, validateStackSpec(spec));
  refuseConflicts(ports.snapshot(), spec);
  const again = failedUpdates(snapshot, declared.name);
  const result = compareSpecs(current?.value.spec, spec, again);
  const allStored = [...filled.contents.keys()].every(isStored);
  if (current !== undefined && !result.changed && allStored) return { ...result, version: current.value.version };
  await ports.putContents(filled.contents);
  const version = await acceptChange(ports, { current, spec, kind: 'apply', by, again });
  if (version === undefined) throw changedMeanwhile(spec.name);
  return { ...result, version };
}

/** Ports that another stack publishes. */
export function refuseConflicts(snapshot: Snapshot, spec: StackSpec): void {
  const services = [...snapshot.services.values()].map(({ value }) => value);
  const others = [...snapshot.stacks.values()].map(({ value }) => value.spec).filter(({ name }) => name !== spec.name);
  refuseProblems(spec.name, portConflicts(spec, others, services));
}

/** How often a service was restarted is no part of what a file declares. */
export function withGenerations(spec: StackSpec, current: StackSpec | undefined): StackSpec {
  const known = new Map(current?.services.map(({ name, template }) => [name, template.generation]));
  const services = spec.services.map((service) => {
    const generation = known.get(service.name) ?? 0;
    return { ...service, template: { ...service.template, generation } };
  });
  return { ...spec, services };
}

/** Registries are asked for this many tags at a time. */
const maxConcurrentResolves = 8;

/** Each reference is asked for once, unless what it stood for in `current` is to be kept; all that fail are told together. */
async function resolveImages(
  ports: StackPorts,
  declared: StackSpec,
  current: StackSpec | undefined,
  signal: AbortSignal,
): Promise<StackSpec> {
  const limited = pLimit(maxConcurrentResolves);
  const kept = keptImages(declared, current);
  const asked = declared.services.filter(({ name }) => !kept.has(name));
  const references = [...new Set(asked.map((service) => service.template.image.reference))];
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
    const problems = asked.flatMap((service) => {
      const error = failures.get(service.template.image.reference);
      return error === undefined ? [] : [{ where: `services.${service.name}.image`, message: describeError(error) }];
    });
    throw new FrotaError(failure.code, notAccepted(declared.name, problems), { problems });
  }
  const services = declared.services.map((service): ServiceSpec => {
    const { reference } = service.template.image;
    const image = kept.get(service.name) ?? resolved.get(reference) ?? service.template.image;
    return { ...service, template: { ...service.template, image } };
  });
  services.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { ...declared, services };
}

/** By service: what its tag stands for already, where it is not to be asked for anew. */
function keptImages(declared: StackSpec, current: StackSpec | undefined): ReadonlyMap<string, ResolvedImage> {
  const known = new Map(current?.services.map(({ name, template }) => [name, template.image]));
  return new Map(
    declared.services.flatMap(({ name, pullPolicy, template }) => {
      const image = known.get(name);
      const isKept = pullPolicy === 'missing' && image?.reference === template.image.reference;
      return isKept ? [[name, image] as const] : [];
    }),
  );
}

/** `again`: services whose update has failed, and is tried again. */
export function compareSpecs(
  before: StackSpec | undefined,
  after: StackSpec,
  again: ReadonlySet<string>,
): Omit<ApplyReply, 'version'> {
  const old = new Map((before?.services ?? []).map((service) => [service.name, service]));
  const next = new Map(after.services.map((service) => [service.name, service]));
  const names = [...next.keys()];
  const same = (name: string): boolean =>
    !again.has(name) && canonicalJson(old.get(name)) === canonicalJson(next.get(name));
  const created = names.filter((name) => !old.has(name));
  const updated = names.filter((name) => old.has(name) && !same(name));
  const unchanged = names.filter((name) => old.has(name) && same(name));
  const removed = [...old.keys()].filter((name) => !next.has(name));
  return { changed: created.length + updated.length + removed.length > 0, created, updated, removed, unchanged };
}
