/** A SERVICE as people write it: `stack/service`, `stack_service`, or `service` where it is unique. */
import type { ErrorCode } from '../../proto/base/errors.ts';
import { serviceId } from '../../proto/domain/service.ts';
import { nearestNames } from './nearest-names.ts';
import { isServiceName } from './resolve-task.ts';
import type { Snapshot } from './snapshot.ts';

export interface ServiceRef {
  readonly stack: string;
  readonly service: string;
}

export interface Unresolved {
  readonly kind: 'problem';
  /** `not-found`, or `invalid` when the name is ambiguous. */
  readonly code: ErrorCode;
  readonly message: string;
}

export type ResolvedService = ({ readonly kind: 'service' } & ServiceRef) | Unresolved;
export type ResolvedTarget = ResolvedService | { readonly kind: 'stack'; readonly stack: string };

/** Services that are declared, and those that are going but still have a record. */
export function resolveService(snapshot: Snapshot, written: string): ResolvedService {
  const known = knownServices(snapshot);
  const matches = known.filter(({ stack, service }) => isServiceName(written, stack, service));
  const [match] = matches;
  if (match !== undefined && matches.length === 1) return { kind: 'service', ...match };
  if (match !== undefined) return ambiguous(written, matches);
  return unknown(written, known);
}

/** As above, or the name of a stack; a name that is both is a service's. */
export function resolveTarget(snapshot: Snapshot, written: string): ResolvedTarget {
  const resolved = resolveService(snapshot, written);
  if (resolved.kind === 'service' || resolved.code === 'invalid') return resolved;
  const isStack = knownServices(snapshot).some(({ stack }) => stack === written) || snapshot.stacks.has(written);
  return isStack ? { kind: 'stack', stack: written } : resolved;
}

/** What `frota ls STACK` needs: a stack that is declared, or of which something is left. */
export function unknownStack(snapshot: Snapshot, written: string): Unresolved | undefined {
  const stacks = new Set([...snapshot.stacks.keys(), ...knownServices(snapshot).map(({ stack }) => stack)]);
  if (stacks.has(written)) return undefined;
  const names = [...stacks].sort();
  const near = nearestNames(written, names);
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `there are: ${listed(names)}`;
  const message = names.length === 0 ? 'there are no stacks' : hint;
  return { kind: 'problem', code: 'not-found', message: `there is no stack "${written}"; ${message}` };
}

function knownServices(snapshot: Snapshot): readonly ServiceRef[] {
  const known = new Map<string, ServiceRef>();
  for (const { value } of snapshot.stacks.values()) {
    for (const { name } of value.spec.services) {
      known.set(serviceId(value.spec.name, name), { stack: value.spec.name, service: name });
    }
  }
  for (const [id, { value }] of snapshot.services) known.set(id, { stack: value.stack, service: value.name });
  return [...known.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, ref]) => ref);
}

function ambiguous(written: string, matches: readonly ServiceRef[]): Unresolved {
  const candidates = matches.map(({ stack, service }) => serviceId(stack, service)).join(', ');
  return {
    kind: 'problem',
    code: 'invalid',
    message: `"${written}" is more than one service; write one of: ${candidates}`,
  };
}

function unknown(written: string, known: readonly ServiceRef[]): Unresolved {
  const ids = known.map(({ stack, service }) => serviceId(stack, service));
  const byName = new Map<string, string[]>();
  for (const { stack, service } of known) {
    for (const name of [service, serviceId(stack, service), `${stack}_${service}`]) {
      byName.set(name, [...(byName.get(name) ?? []), serviceId(stack, service)]);
    }
  }
  const near = [...new Set(nearestNames(written, [...byName.keys()]).flatMap((name) => byName.get(name) ?? []))];
  const hint = near.length > 0 ? `did you mean ${near.slice(0, maxListed).join(' or ')}?` : `there are: ${listed(ids)}`;
  const message = ids.length === 0 ? 'there are no services' : hint;
  return { kind: 'problem', code: 'not-found', message: `there is no service "${written}"; ${message}` };
}

/** A message stays readable on a cluster with hundreds of services. */
const maxListed = 10;

function listed(ids: readonly string[]): string {
  const more = ids.length - maxListed;
  return more > 0 ? `${ids.slice(0, maxListed).join(', ')} and ${String(more)} more` : ids.join(', ');
}
