/** Sees all that happens, remembers what the properties need to know of the past, and asks them. */
import type { DesiredNetwork } from '../../agent/network/network.ts';
import { canonicalJson } from '../../controller/plan/canonical-json.ts';
import type { Snapshot } from '../../controller/plan/snapshot.ts';
import { serviceId } from '../../proto/domain/service.ts';
import type { Task } from '../../proto/domain/task.ts';
import type { Machine } from './machine.ts';
import { enforceProperties, signalProperties, startProperties } from './machine-properties.ts';
import { commitProperties, companionsOf } from './properties.ts';
import type { Commit } from './simulated-store.ts';
import type { Tally } from './tally.ts';
import type { Trace } from './trace.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface WitnessParts {
  readonly time: VirtualTime;
  readonly trace: Trace;
  readonly tally: Tally;
  readonly stored: () => Snapshot;
  readonly machines: () => readonly Machine[];
  /** Whether a controller has told the running agent of a node all that it is to have. */
  readonly confirmed: (nodeId: string) => boolean;
  readonly epochs: (nodeId: string) => { readonly told: number; readonly largest: number };
  /** Since when the leader has taken a node for ready; undefined: it does not. */
  readonly readySinceMs: (nodeId: string) => number | undefined;
  readonly violated: (property: { readonly name: string; readonly why: string }, what: string) => void;
}

export class Witness {
  readonly #parts: WitnessParts;
  /** Every task that was ever stored, as it last was. */
  readonly #known = new Map<string, Task>();
  /** By task: when the store first had it as no longer wanted. */
  readonly #unwantedAtMs = new Map<string, number>();
  readonly #companions = new Map<string, readonly string[]>();
  readonly #starts = new Map<string, number>();
  readonly #forgetful = new Set<string>();
  readonly #stirrings: string[] = [];

  constructor(parts: WitnessParts) {
    this.#parts = parts;
  }

  /** A disk has lost what it promised to keep: its node can't know any more what it has started. */
  forgot({ nodeId }: Machine): void {
    for (const task of this.#known.values()) if (task.nodeId === nodeId) this.#forgetful.add(task.id);
  }

  committed(commit: Commit): void {
    for (const change of commit.batch.changes) {
      this.#parts.trace.note(
        'store',
        `${String(commit.batch.revision)} ${change.kind} ${change.kind === 'put' ? change.entry.key : change.key}`,
      );
    }
    for (const [id, { value }] of commit.after.tasks) {
      if (value.byNode === true && !this.#known.has(id)) this.#parts.tally.add('attempts of nodes that were adopted');
      this.#known.set(id, value);
      if (value.desired !== 'running' && !this.#unwantedAtMs.has(id))
        this.#unwantedAtMs.set(id, this.#parts.time.nowMs);
    }
    for (const [id, others] of companionsOf(commit)) this.#companions.set(id, others);
    for (const property of commitProperties) {
      const what = property.check(commit);
      if (what !== undefined) this.#parts.violated(property, what);
    }
  }

  /** Everything of late that does not happen in a cluster at rest, for `no-flapping-at-calm`. */
  stirrings(): readonly string[] {
    return this.#stirrings;
  }

  stirred(what: string): void {
    this.#stirrings.push(what);
  }

  enforced(machine: Machine, desired: DesiredNetwork, applied: DesiredNetwork): void {
    for (const property of enforceProperties) {
      const what = property.check({ node: machine.name, desired, applied });
      if (what !== undefined) this.#parts.violated(property, what);
    }
    const isNews = canonicalJson(applied.services) !== canonicalJson(machine.appliedNetwork?.services);
    if (isNews) this.stirred(`${machine.name} leads elsewhere`);
  }

  started(machine: Machine, taskId: string): void {
    this.stirred(`${machine.name} starts ${taskId}`);
    this.#parts.trace.note(machine.name, `started ${taskId}`);
    const earlierStarts = this.#forgetful.has(taskId) ? 0 : (this.#starts.get(taskId) ?? 0);
    this.#starts.set(taskId, (this.#starts.get(taskId) ?? 0) + 1);
    this.#parts.tally.add('containers started');
    if (this.#known.get(taskId)?.fence !== undefined) this.#parts.tally.add('fenced containers started');
    const replaces = machine.ownAttempts.get(taskId);
    if (replaces !== undefined) this.#parts.tally.add('attempts of nodes that are cut off');
    const running = this.#parts
      .machines()
      .flatMap(({ containers }) =>
        [...containers.values()].flatMap(({ id, state }) => (state.kind === 'running' ? [id] : [])),
      );
    const started = {
      taskId,
      nodeId: machine.nodeId,
      stored: this.#parts.stored(),
      confirmed: this.#parts.confirmed(machine.nodeId),
      epochs: this.#parts.epochs(machine.nodeId),
      earlierStarts,
      replaces,
      beside: [...machine.containers.values()].flatMap(({ id, state }) => (state.kind === 'running' ? [id] : [])),
      running,
      known: this.#known,
      companions: this.#companions,
    };
    for (const property of startProperties) {
      const what = property.check(started);
      if (what !== undefined) this.#parts.violated(property, what);
    }
  }

  signalled(machine: Machine, taskId: string): void {
    this.stirred(`${machine.name} stops ${taskId}`);
    this.#parts.trace.note(machine.name, `signals ${taskId}`);
    this.#parts.tally.add('containers told to stop');
    const task = this.#known.get(taskId);
    if (task === undefined) return;
    const stored = this.#parts.stored();
    const sinceMs = this.#unwantedAtMs.get(taskId);
    const id = serviceId(task.stack, task.service);
    const published = (stored.services.get(id)?.value.ports.length ?? 0) > 0;
    const leading = this.#parts.machines().filter(({ nodeId, powered, appliedNetwork, containers }) => {
      // Who was not heard meanwhile was not waited for.
      const readySinceMs = this.#parts.readySinceMs(nodeId);
      if (!powered || readySinceMs === undefined || readySinceMs > (sinceMs ?? 0)) return false;
      // Who could use it: anybody through a published port, else what runs there of the same stack.
      const uses =
        published ||
        [...containers.values()].some(
          ({ id: other, state }) => state.kind === 'running' && stored.tasks.get(other)?.value.stack === task.stack,
        );
      const unit = appliedNetwork?.services.find((one) => serviceId(one.stack, one.name) === id);
      return uses && unit?.endpoints.some((endpoint) => endpoint.taskId === taskId) === true;
    });
    const signalled = {
      taskId,
      stored,
      unwantedForMs: sinceMs === undefined ? undefined : this.#parts.time.nowMs - sinceMs,
      ledToBy: leading.map(({ name }) => name),
    };
    for (const property of signalProperties) {
      const what = property.check(signalled);
      if (what !== undefined) this.#parts.violated(property, what);
    }
  }
}
