/**
 * What all use-cases share that change what is declared, and the small ones: scale, remove. Each ends in one conditional
 * put of the stack's record together with its place in the history.
 */
import { FrotaError } from '../../proto/base/errors.ts';
import type { Problem } from '../../proto/base/errors.ts';
import type { Clock } from '../../proto/base/clock.ts';
import { contentIdsOf } from '../../proto/domain/content.ts';
import type { Content } from '../../proto/domain/content.ts';
import type { ChangeKind, Revision } from '../../proto/domain/revision.ts';
import { revisionsKept } from '../../proto/domain/revision.ts';
import type { KeptContent, ResolvedImage, ServiceSpec, Stack, StackSpec } from '../../proto/domain/service.ts';
import { validateStackSpec } from '../../proto/domain/validate.ts';
import { unknownStack } from '../plan/resolve-service.ts';
import { hasFallenBack } from '../plan/rollout-policy.ts';
import type { Snapshot, Stored } from '../plan/snapshot.ts';
import { stackDifference } from '../plan/stack-difference.ts';

export interface StackPorts {
  readonly snapshot: () => Snapshot;
  /** Tag → digest, asked of the registry now. @throws FrotaError that names image and registry. */
  readonly resolveImage: (reference: string, signal: AbortSignal) => Promise<ResolvedImage>;
  /**
   * Puts the stack as this revision of it says, and the revision in its history; with `undefined` both are deleted. Only
   * if the stack still has `modRevision`; resolves when the snapshot shows it. False: somebody else was first.
   */
  readonly putStack: (name: string, revision: Revision | undefined, modRevision: number) => Promise<boolean>;
  /** The accepted versions of a stack that are kept, oldest first. */
  readonly history: (stack: string) => Promise<readonly Revision[]>;
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
const maxChangeRounds = 5;

/** An accepted change of a stack, before it is one. */
export interface StackChange {
  readonly current: Stored<Stack> | undefined;
  readonly spec: StackSpec;
  readonly kind: ChangeKind;
  readonly by: string;
  /** Services whose failed updates it tries again. */
  readonly again?: ReadonlySet<string>;
  readonly restores?: number;
}

/** @returns the new version; undefined: somebody else was first. */
export async function acceptChange(ports: StackPorts, change: StackChange): Promise<number | undefined> {
  const { current, spec, kind, by, again = new Set<string>(), restores } = change;
  const version = (current?.value.version ?? 0) + 1;
  const whole = kind === 'apply' || kind === 'undo';
  const stack: Stack = {
    spec,
    version,
    declaredVersion: whole ? version : (current?.value.declaredVersion ?? version),
    keptContents: keptContents(current?.value.keptContents ?? [], spec, version),
    appliedAtMs: ports.clock.now().wallMs,
    appliedBy: by,
  };
  const changed = stackDifference(current?.value.spec, spec);
  const differences = [...changed, ...[...again].sort().map((service) => `${service}: tried again`)];
  const revision: Revision = { stack, kind, differences, ...(restores === undefined ? {} : { restores }) };
  return (await ports.putStack(spec.name, revision, current?.modRevision ?? 0)) ? version : undefined;
}

/** The stack's record stays small; what more there was than these an undo may miss, and says so. */
const maxKeptContents = 500;

/** What the versions in the history refer to, this one included; what only older ones did is let go. */
function keptContents(before: readonly KeptContent[], spec: StackSpec, version: number): readonly KeptContent[] {
  const now = contentIdsOf(spec);
  const earlier = before.filter((kept) => !now.has(kept.contentId) && kept.version > version - revisionsKept);
  return [...earlier, ...[...now].map((contentId) => ({ contentId, version }))].slice(-maxKeptContents);
}

/** Services of a stack whose update has failed: declared anew, it is tried again. */
export function failedUpdates(snapshot: Snapshot, stack: string): ReadonlySet<string> {
  const services = [...snapshot.services.values()].map(({ value }) => value);
  return new Set(
    services.filter((each) => each.stack === stack && hasFallenBack(each.rollout)).map(({ name }) => name),
  );
}

/**
 * Changes the stack as it is at that moment, whoever else changes it; `change` may be asked more than once and answers
 * undefined where there is nothing to change. @returns the stack's version then
 */
export async function changeStack(
  ports: StackPorts,
  name: string,
  meta: { readonly kind: ChangeKind; readonly by: string },
  change: (spec: StackSpec) => StackSpec | undefined,
): Promise<number> {
  for (let round = 0; round < maxChangeRounds; round += 1) {
    const current = existingStack(ports.snapshot(), name);
    const spec = change(current.value.spec);
    if (spec === undefined) return current.value.version;
    refuseProblems(name, validateStackSpec(spec));
    const version = await acceptChange(ports, { current, spec, ...meta });
    if (version !== undefined) return version;
  }
  throw changedMeanwhile(name);
}

export async function scaleServices(
  ports: StackPorts,
  requests: readonly ScaleRequest[],
  by: string,
): Promise<readonly ScaleResult[]> {
  const results: ScaleResult[] = [];
  for (const name of new Set(requests.map((request) => request.stack))) {
    const ofStack = requests.filter((request) => request.stack === name);
    let scaled: readonly ScaleResult[] = [];
    await changeStack(ports, name, { kind: 'scale', by }, (spec) => {
      refuseUnfit(name, ofStack, spec.services);
      const before = new Map(spec.services.map((service) => [service.name, service.replicas]));
      scaled = ofStack.map((request) => ({ ...request, before: before.get(request.service) ?? 0 }));
      const wanted = new Map(ofStack.map((request) => [request.service, request.replicas]));
      const resize = (service: ServiceSpec): ServiceSpec => ({
        ...service,
        replicas: wanted.get(service.name) ?? service.replicas,
      });
      const isSame = scaled.every((result) => result.before === result.replicas);
      return isSame ? undefined : { ...spec, services: spec.services.map(resize) };
    });
    results.push(...scaled);
  }
  return results;
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

export function existingStack(snapshot: Snapshot, name: string): Stored<Stack> {
  const current = snapshot.stacks.get(name);
  if (current !== undefined) return current;
  const unknown = unknownStack(snapshot, name);
  throw new FrotaError('not-found', unknown?.message ?? `stack "${name}" is being removed already`);
}

export function refuseProblems(stack: string, problems: readonly Problem[]): void {
  if (problems.length > 0) throw new FrotaError('invalid', notAccepted(stack, problems), { problems });
}

/** A problem that is alone is told in the sentence itself. */
export function notAccepted(stack: string, problems: readonly Problem[]): string {
  const [first] = problems;
  const summary =
    problems.length === 1 && first !== undefined
      ? `${first.where}: ${first.message}`
      : `${String(problems.length)} problems`;
  return `stack "${stack}" was not accepted: ${summary}`;
}

export const changedMeanwhile = (name: string): FrotaError =>
  new FrotaError(
    'conflict',
    `stack "${name}" was changed by somebody else at the same moment; nothing was done, try again`,
  );
