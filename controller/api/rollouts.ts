/** Use-cases of `frota rollout`: restart services, declare an earlier version of a stack anew, tell its history. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { RestartedStack, RolloutUndoReply } from '../../proto/codec/rollouts.ts';
import { contentIdsOfTemplate } from '../../proto/domain/content.ts';
import type { Revision } from '../../proto/domain/revision.ts';
import type { ServiceSpec, StackSpec } from '../../proto/domain/service.ts';
import { validateStackSpec } from '../../proto/domain/validate.ts';
import type { RevisionService, RevisionView } from '../../proto/domain/views.ts';
import { resolveTarget } from '../plan/resolve-service.ts';
import type { Snapshot } from '../plan/snapshot.ts';
import { compareSpecs, refuseConflicts, withGenerations } from './apply.ts';
import { acceptChange, changedMeanwhile, changeStack, existingStack, failedUpdates, refuseProblems } from './stacks.ts';
import type { StackPorts } from './stacks.ts';

/** Raises the generation of the named services, of a stack's all: their tasks are replaced under the update's policy. */
export async function restartServices(
  ports: StackPorts,
  written: readonly string[],
  by: string,
): Promise<readonly RestartedStack[]> {
  const restarted: RestartedStack[] = [];
  for (const [stack, named] of targetsOf(ports.snapshot(), written)) {
    let services: readonly string[] = [];
    const version = await changeStack(ports, stack, { kind: 'restart', by }, (spec) => {
      const going = [...named].find((name) => !spec.services.some((service) => service.name === name));
      if (going !== undefined) {
        throw new FrotaError('not-found', `service ${stack}/${going} is no longer declared; it is being removed`);
      }
      const isNamed = (name: string): boolean => named.size === 0 || named.has(name);
      services = spec.services.map(({ name }) => name).filter(isNamed);
      return {
        ...spec,
        services: spec.services.map((service) => {
          const { template } = service;
          const generation = template.generation + 1;
          return isNamed(service.name) ? { ...service, template: { ...template, generation } } : service;
        }),
      };
    });
    restarted.push({ stack, version, services });
  }
  return restarted;
}

/** By stack: the services that are named; none: all of them. */
function targetsOf(snapshot: Snapshot, written: readonly string[]): ReadonlyMap<string, ReadonlySet<string>> {
  const targets = new Map<string, Set<string>>();
  const whole = new Set<string>();
  for (const text of written) {
    const target = resolveTarget(snapshot, text);
    if (target.kind === 'problem') throw new FrotaError(target.code, target.message);
    const services = targets.get(target.stack) ?? new Set<string>();
    if (target.kind === 'service') services.add(target.service);
    else whole.add(target.stack);
    targets.set(target.stack, services);
  }
  for (const stack of whole) targets.set(stack, new Set());
  return targets;
}

/** `version` undefined: the one before the one that is declared. Digests, configs and secrets are those of that time. */
export async function undoStack(
  ports: StackPorts,
  name: string,
  version: number | undefined,
  by: string,
): Promise<RolloutUndoReply> {
  const snapshot = ports.snapshot();
  const current = existingStack(snapshot, name);
  const earlier = revisionOf(name, await ports.history(name), version ?? current.value.version - 1);
  const spec = withGenerations(earlier.stack.spec, current.value.spec);
  refuseProblems(name, [...validateStackSpec(spec), ...lostContents(snapshot, spec)]);
  refuseConflicts(snapshot, spec);
  const again = failedUpdates(snapshot, name);
  const result = compareSpecs(current.value.spec, spec, again);
  const restores = earlier.stack.version;
  if (!result.changed) return { ...result, version: current.value.version, restores };
  const accepted = await acceptChange(ports, { current, spec, kind: 'undo', by, again, restores });
  if (accepted === undefined) throw changedMeanwhile(name);
  return { ...result, version: accepted, restores };
}

function revisionOf(stack: string, history: readonly Revision[], version: number): Revision {
  const found = history.find((revision) => revision.stack.version === version);
  if (found !== undefined) return found;
  const versions = history.map((revision) => revision.stack.version);
  const [oldest = 0] = versions;
  const kept = versions.length === 0 ? 'none is' : `kept are ${String(oldest)} to ${String(versions.at(-1) ?? 0)}`;
  const what = version < 1 ? 'there is no version before the first' : `version ${String(version)} is not kept`;
  throw new FrotaError('not-found', `stack "${stack}": ${what}; ${kept}`);
}

function lostContents({ contents }: Snapshot, { services }: StackSpec): readonly { where: string; message: string }[] {
  return services.flatMap(({ name, template }) =>
    template.files
      .filter((file) => contentIdsOfTemplate({ files: [file] }).some((id) => !contents.has(id)))
      .map((file) => ({
        where: `services.${name}.${file.kind}s`,
        message: `the content of ${file.kind} ${file.name} is no longer kept; apply the file of that time`,
      })),
  );
}

/** Newest first; of one version, if it is given, what it declares, too. */
export async function stackHistory(
  ports: StackPorts,
  name: string,
  version: number | undefined,
  isoTime: (wallMs: number) => string,
): Promise<readonly RevisionView[]> {
  const current = existingStack(ports.snapshot(), name).value.version;
  const history = await ports.history(name);
  const viewOf = ({ stack, kind, differences, restores }: Revision): RevisionView => ({
    version: stack.version,
    current: stack.version === current,
    kind,
    by: stack.appliedBy,
    at: isoTime(stack.appliedAtMs),
    restores: restores ?? null,
    differences,
  });
  if (version === undefined) return history.map(viewOf).reverse();
  const revision = revisionOf(name, history, version);
  return [{ ...viewOf(revision), services: revision.stack.spec.services.map(serviceOfRevision) }];
}

const serviceOfRevision = ({ name, mode, replicas, template: { image } }: ServiceSpec): RevisionService => ({
  name,
  mode,
  image: image.reference,
  digest: image.digest,
  replicas: mode === 'global' ? null : replicas,
});
