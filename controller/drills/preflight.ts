/** Before anything is hurt: what exactly the drill would do, or every reason why it had better not. */
import { canOverride, defaultSlos } from '../../proto/domain/drill.ts';
import type { DrillPlan, DrillRefusal, DrillRequest, NodeRef, ProbePlan, TaskRef } from '../../proto/domain/drill.ts';
import type { NodeLiveness } from '../../proto/domain/node.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { PublishedPort, Service } from '../../proto/domain/service.ts';
import { parseSlo, placeInSlo } from '../../proto/domain/slo.ts';
import type { Objective } from '../../proto/domain/slo.ts';
import { slotName, taskState } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import { isConverged } from '../plan/converged.ts';
import { resolveService } from '../plan/resolve-service.ts';
import type { Plan, Snapshot } from '../plan/snapshot.ts';
import { fencedLosses } from './fenced-losses.ts';
import { withoutNode } from './what-if.ts';

export interface PreflightInput {
  readonly snapshot: Snapshot;
  /** By node id. */
  readonly liveness: ReadonlyMap<string, NodeLiveness>;
  /** The cluster's own plan for this snapshot, were the nodes as `liveness` says. */
  readonly planFor: (liveness: ReadonlyMap<string, NodeLiveness>) => Plan;
  /** Id of a drill that has not ended. */
  readonly running: string | undefined;
  /** 0 ≤ draw < 1: which of several, where the request says `random`. */
  readonly draw: number;
}

export type Preflight =
  | { readonly kind: 'ready'; readonly plan: DrillPlan }
  | { readonly kind: 'refused'; readonly refusals: readonly DrillRefusal[] };

/** Kinds after which the node's tasks are replaced elsewhere. */
const takesNodeAway = new Set<DrillRequest['kind']>(['node-loss', 'node-freeze', 'partition']);

export function preflight(request: DrillRequest, input: PreflightInput): Preflight {
  const refusals: DrillRefusal[] = [...busyOrUnhealthy(input)];
  const service = namedService(request, input, refusals);
  const victim = chooseVictim(request, input, service, refusals);
  const expected = expectedLosses(request, input.snapshot, victim);
  const consequences = [...consequencesOf(request, input, victim, expected)];
  const probe = choosePlanOfProbe(request, input, service, victim?.node, refusals);
  const objectives = objectivesOf(request, probe !== undefined, refusals);
  const fenced = fencedLosses(request, objectives, input.snapshot, takesNodeAway.has(request.kind) ? expected : []);
  consequences.push(...fenced.refusals);
  if (probe === undefined && service !== undefined && objectives.some(({ metric }) => metric === 'errors')) {
    const message = `errors can't be measured: ${service} publishes no TCP port; leave them out of --slo`;
    refusals.push({ kind: 'no-probe', message });
  }
  const standing = [...refusals, ...consequences].filter((refusal) => !request.force || !canOverride(refusal));
  if (standing.length > 0) return { kind: 'refused', refusals: standing };
  const overridden = consequences.map(({ message }) => message);
  const { kind, forMs } = request;
  return {
    kind: 'ready',
    plan: {
      kind,
      forMs,
      objectives,
      expected,
      overridden,
      ...(fenced.cautions.length > 0 && { cautions: fenced.cautions }),
      ...(victim?.node && { node: victim.node }),
      ...(victim?.task && { task: victim.task }),
      ...(service !== undefined && { service }),
      ...(probe && { probe }),
    },
  };
}

function busyOrUnhealthy({ snapshot, liveness, running }: PreflightInput): readonly DrillRefusal[] {
  const refusals: DrillRefusal[] = [];
  if (running !== undefined) {
    refusals.push({ kind: 'busy', message: `drill ${running} is not over; see "frota drill show ${running}"` });
  }
  for (const { value: node } of snapshot.nodes.values()) {
    const state = liveness.get(node.id)?.state ?? 'not heard yet';
    if (state !== 'ready') refusals.push({ kind: 'unhealthy', message: `node ${node.name} is ${state}` });
  }
  for (const stack of snapshot.stacks.keys()) {
    if (isConverged(snapshot, liveness, stack)) continue;
    refusals.push({ kind: 'unhealthy', message: `stack ${stack} is not as declared yet; see "frota ps ${stack}"` });
  }
  return refusals;
}

/** What was asked for, or the default of the kind as far as it can be measured. */
function objectivesOf({ kind, slo }: DrillRequest, isProbed: boolean, refusals: DrillRefusal[]): readonly Objective[] {
  const parsed = parseSlo(slo === '' ? defaultSlos[kind] : slo);
  if (parsed.kind === 'objectives') {
    return parsed.objectives.filter(({ metric }) => slo !== '' || isProbed || metric !== 'errors');
  }
  for (const problem of parsed.problems) {
    refusals.push({ kind: 'unknown', message: `${placeInSlo(problem)}: ${problem.message}` });
  }
  return [];
}

function namedService(
  request: DrillRequest,
  { snapshot }: PreflightInput,
  refusals: DrillRefusal[],
): string | undefined {
  if (request.service !== undefined) {
    const resolved = resolveService(snapshot, request.service);
    if (resolved.kind === 'service') return serviceId(resolved.stack, resolved.service);
    refusals.push({ kind: 'unknown', message: resolved.message });
    return undefined;
  }
  const all = [...snapshot.services.values()].map(({ value }) => value);
  const candidates = all.length > 1 ? all.filter((each) => tcpPort(each) !== undefined) : all;
  const [only] = candidates;
  if (only !== undefined && candidates.length === 1) return serviceId(only.stack, only.name);
  if (all.length > 0) {
    const listed = (candidates.length > 0 ? candidates : all).map(({ stack, name }) => serviceId(stack, name));
    refusals.push({ kind: 'unknown', message: `say with --service which one is asked: ${listed.join(', ')}` });
  }
  return undefined;
}

interface Victim {
  readonly node?: NodeRef;
  readonly task?: TaskRef;
}

/** The node with most tasks of the service (of all services, where none is named), or the one that was asked for. */
function chooseVictim(
  request: DrillRequest,
  { snapshot, draw }: PreflightInput,
  service: string | undefined,
  refusals: DrillRefusal[],
): Victim | undefined {
  if (request.kind === 'controller-kill') {
    if (request.node !== undefined || request.random) {
      refusals.push({ kind: 'unknown', message: 'controller-kill hurts the controller, no node: leave --node out' });
    }
    return undefined;
  }
  const tasks = runningTasks(snapshot).filter((task) => service === undefined || serviceOf(task) === service);
  const counts = [...snapshot.nodes.values()]
    .map(({ value: { id, name } }) => ({ id, name, count: tasks.filter(({ nodeId }) => nodeId === id).length }))
    .sort((a, b) => b.count - a.count || byName(a.name, b.name));
  const running = counts.filter(({ count }) => count > 0);
  const pool = request.random ? (running.length > 0 ? running : counts) : counts;
  const chosen =
    request.node === undefined
      ? pool[request.random ? Math.floor(draw * pool.length) : 0]
      : counts.find(({ id, name }) => id === request.node || name === request.node);
  if (chosen === undefined) {
    const known = counts
      .map(({ name }) => name)
      .sort(byName)
      .join(', ');
    const message = request.node === undefined ? 'there are no nodes' : `there is no node "${request.node}"`;
    refusals.push({ kind: 'unknown', message: known === '' ? message : `${message}; there are: ${known}` });
    return undefined;
  }
  const node = { id: chosen.id, name: chosen.name };
  if (request.kind !== 'container-kill') return { node };
  const [first] = tasks.filter(({ nodeId }) => nodeId === node.id).sort((a, b) => a.slot - b.slot);
  if (first === undefined) {
    const message = `node ${node.name} runs no task of ${service ?? 'any service'} that could be killed`;
    refusals.push({ kind: 'nothing-to-hurt', message });
    return { node };
  }
  return { node, task: taskRef(snapshot, first) };
}

function expectedLosses({ kind }: DrillRequest, snapshot: Snapshot, victim: Victim | undefined): readonly TaskRef[] {
  if (victim?.task !== undefined) return [victim.task];
  if (!takesNodeAway.has(kind) || victim?.node === undefined) return [];
  const { id } = victim.node;
  return runningTasks(snapshot)
    .filter(({ nodeId }) => nodeId === id)
    .map((task) => taskRef(snapshot, task));
}

/** What would be away for as long as the drill lasts. */
function consequencesOf(
  { kind }: DrillRequest,
  input: PreflightInput,
  victim: Victim | undefined,
  expected: readonly TaskRef[],
): readonly DrillRefusal[] {
  const { snapshot } = input;
  const refusals: DrillRefusal[] = [];
  const running = runningTasks(snapshot);
  for (const service of new Set(expected.map((task) => task.service))) {
    const lost = expected.filter((task) => task.service === service).length;
    if (running.filter((task) => serviceOf(task) === service).length > lost) continue;
    const where = kind === 'container-kill' ? 'this task' : `node ${victim?.node?.name ?? ''}`;
    refusals.push({
      kind: 'last-replica',
      message: `${where} has the last running replica of ${service}: nothing of it answers until it is replaced`,
    });
  }
  if (!takesNodeAway.has(kind) || victim?.node === undefined) return refusals;
  if (snapshot.nodes.size < 2) return refusals;
  for (const { task, reason } of withoutNode(input, victim.node, expected)) {
    const name = slotName(task.service, task.slot);
    refusals.push({
      kind: 'does-not-fit',
      message: `${name} would not run while ${victim.node.name} is away: ${reason}`,
    });
  }
  return refusals;
}

/** Published ports are served by every node; those that the drill spares are asked, by the first of them. */
function choosePlanOfProbe(
  request: DrillRequest,
  { snapshot }: PreflightInput,
  service: string | undefined,
  victim: NodeRef | undefined,
  refusals: DrillRefusal[],
): ProbePlan | undefined {
  const all = [...snapshot.nodes.values()].map(({ value }) => value);
  const others = all.filter(({ id }) => id !== victim?.id);
  // A killed container hurts no node: where there is one only, it may ask itself.
  const spared = others.length === 0 && request.kind === 'container-kill' ? all : others;
  if (victim !== undefined && spared.length === 0) {
    refusals.push({ kind: 'nothing-spared', message: `${victim.name} is the only node: nothing would be left` });
  }
  const port = service === undefined ? undefined : tcpPort(snapshot.services.get(service)?.value);
  const sorted = [...spared].sort((a, b) => byName(a.name, b.name));
  const [witness] = sorted;
  if (port === undefined || witness === undefined) return undefined;
  const targets = sorted.flatMap(({ id }) => {
    const address = snapshot.facts.get(id)?.address;
    if (address === undefined) return [];
    return [`${address.includes(':') ? `[${address}]` : address}:${String(port.published)}`];
  });
  const { probe: kind, path, perSecond } = request;
  return {
    kind,
    path,
    perSecond,
    targets,
    witness: { id: witness.id, name: witness.name },
    containerPort: port.target,
  };
}

/** `n2` before `n10`. */
const byName = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

const tcpPort = (service: Service | undefined): PublishedPort | undefined =>
  service?.ports.find(({ protocol }) => protocol === 'tcp');

const serviceOf = (task: Task): string => serviceId(task.stack, task.service);

/** Those that a fault could take something from. */
export function runningTasks(snapshot: Snapshot): readonly Task[] {
  return [...snapshot.tasks.values()]
    .map(({ value }) => value)
    .filter((task) => task.desired === 'running' && taskState(task, snapshot.statuses.get(task.id)) === 'running');
}

export function taskRef(snapshot: Snapshot, task: Task): TaskRef {
  const { id, slot, nodeId = '' } = task;
  return { id, service: serviceOf(task), slot, node: snapshot.nodes.get(nodeId)?.value.name ?? nodeId };
}
