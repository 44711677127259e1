/** A small cluster without processes: agents that obey or fail at random, a store that loses commits, a controller that forgets. */
import { expect } from 'vitest';
import { openDraft } from '../../../controller/plan/draft.ts';
import { plan, planOf } from '../../../controller/plan/plan.ts';
import type { Plan, PlanInput, Snapshot } from '../../../controller/plan/snapshot.ts';
import { rememberHashes } from '../../../controller/plan/template-hashes.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import type { Node, NodeState } from '../../../proto/domain/node.ts';
import type { ServiceSpec } from '../../../proto/domain/service.ts';
import { isEnded, taskState, taskStateRank } from '../../../proto/domain/task.ts';
import type { Health, TaskState, TaskStatus } from '../../../proto/domain/task.ts';
import { aFacts, aLiveness, aNode, aSnapshot, aStack, MiB, sha256, startMs } from '../../builders/domain.ts';
import { commitChanges } from '../../builders/commit.ts';

export type Step =
  | { readonly kind: 'apply'; readonly stack: string; readonly services: readonly ServiceSpec[] }
  | { readonly kind: 'remove'; readonly stack: string }
  | { readonly kind: 'node'; readonly node: number; readonly state: NodeState | undefined }
  | { readonly kind: 'availability'; readonly node: number; readonly availability: 'active' | 'pause' | 'drain' }
  | { readonly kind: 'label'; readonly node: number; readonly zone: string | undefined }
  | { readonly kind: 'unwell'; readonly task: number }
  | { readonly kind: 'advance'; readonly task: number; readonly to: TaskState }
  | { readonly kind: 'time'; readonly ms: number }
  /** Each pass commits the changes whose index is in `kept` modulo 8 (all: a full commit). */
  | { readonly kind: 'pass'; readonly kept: readonly number[] | 'all' | 'half' }
  | { readonly kind: 'restart' };

const shown: readonly TaskState[] = ['running', 'complete', 'shutdown', 'failed', 'rejected'];

export class World {
  snapshot: Snapshot;
  wall = startMs;
  /** What agents tell of what runs. */
  health: Health = 'none';
  private ids = 0;
  private readonly templateHash = rememberHashes(sha256);
  private states = new Map<string, NodeState | undefined>();

  constructor(nodeCount: number) {
    const nodes = Array.from({ length: nodeCount }, (_, index) => aNode(`n${String(index + 1)}`));
    const capacity = { cpuMillis: 2_000, memoryBytes: 512 * MiB };
    this.snapshot = aSnapshot({ nodes, facts: nodes.map(({ id }) => aFacts(id, { capacity })) });
  }

  step(step: Step): void {
    const { snapshot } = this;
    switch (step.kind) {
      case 'apply': {
        const version = (snapshot.stacks.get(step.stack)?.value.version ?? 0) + 1;
        const value = aStack(step.stack, step.services, { version, declaredVersion: version });
        const stored = { value, modRevision: snapshot.revision + 1 };
        const stacks = new Map([...snapshot.stacks, [step.stack, stored]]);
        this.snapshot = { ...snapshot, stacks, revision: snapshot.revision + 1 };
        break;
      }
      case 'remove':
        this.snapshot = { ...snapshot, stacks: new Map([...snapshot.stacks].filter(([name]) => name !== step.stack)) };
        break;
      case 'node':
        this.states.set(this.nodeId(step.node), step.state);
        break;
      case 'availability':
        this.changeNode(step.node, { availability: step.availability });
        break;
      case 'label':
        this.changeNode(step.node, { labels: step.zone === undefined ? {} : { zone: step.zone } });
        break;
      case 'unwell': {
        const running = [...snapshot.statuses.values()].filter(({ state }) => state === 'running');
        const status = running[step.task % Math.max(1, running.length)];
        if (status === undefined) break;
        const unwell = { ...status, health: 'unhealthy' as const };
        this.snapshot = { ...snapshot, statuses: new Map([...snapshot.statuses, [status.taskId, unwell]]) };
        break;
      }
      case 'advance': {
        const tasks = [...snapshot.tasks.values()].filter(({ value }) => value.nodeId !== undefined);
        const task = tasks[step.task % Math.max(1, tasks.length)];
        if (task !== undefined) this.report(task.value.id, step.to);
        break;
      }
      case 'time':
        this.wall += step.ms;
        break;
      case 'pass':
        this.pass(step.kept);
        break;
      case 'restart': // What was only in memory is forgotten.
        this.snapshot = {
          ...snapshot,
          statuses: new Map([...snapshot.statuses].filter(([, { state }]) => shown.includes(state))),
        };
        break;
    }
  }

  /** Services at rest are passed over; a look at all of them must give the same plan. */
  plan(): Plan {
    let { ids } = this;
    const everything = planOf(
      openDraft(
        this.snapshot,
        this.input(() => (ids += 1)),
        () => false,
      ),
    );
    const result = plan(
      this.snapshot,
      this.input(() => (this.ids += 1)),
    );
    expect(result).toEqual(everything);
    return result;
  }

  private input(count: () => number): PlanInput {
    return {
      now: { monoMs: monoMs(this.wall - startMs), wallMs: wallMs(this.wall) },
      newId: () => `task-${String(count())}`,
      liveness: this.liveness(),
      hash: sha256,
      templateHash: this.templateHash,
    };
  }

  liveness(): ReturnType<typeof aLiveness> {
    return aLiveness(this.snapshot, Object.fromEntries(this.states));
  }

  pass(kept: readonly number[] | 'all' | 'half'): Plan {
    const result = this.plan();
    const { changes } = result;
    const subset = kept === 'half' ? changes.slice(0, changes.length >> 1) : changes;
    const committed = typeof kept === 'string' ? subset : subset.filter((_, index) => kept.includes(index % 8));
    this.snapshot = commitChanges(this.snapshot, committed).snapshot;
    return result;
  }

  /** Only forward moves are accepted, as by the controller; an orphaned or deleted task has no say. */
  report(id: string, state: TaskState): void {
    const task = this.snapshot.tasks.get(id)?.value;
    const before = this.snapshot.statuses.get(id);
    if (task === undefined || task.orphaned === true || task.nodeId === undefined) return;
    if (before !== undefined && (isEnded(before.state) || taskStateRank(state) <= taskStateRank(before.state))) return;
    const startedAtMs = before?.startedAtMs ?? (state === 'rejected' ? undefined : this.wall);
    const ranAtMs = before?.ranAtMs ?? (state === 'running' ? this.wall : undefined);
    const status: TaskStatus = {
      taskId: id,
      state,
      health: state === 'running' ? this.health : 'none',
      sinceMs: this.wall,
      ...(startedAtMs === undefined ? {} : { startedAtMs }),
      ...(ranAtMs === undefined ? {} : { ranAtMs }),
      ...(isEnded(state) ? { finishedAtMs: this.wall } : {}),
    };
    this.snapshot = { ...this.snapshot, statuses: new Map([...this.snapshot.statuses, [id, status]]) };
  }

  /** Nothing fails any more: every node is back, agents start and stop what they are told, time passes. */
  calm(rounds: number): number {
    for (const id of this.snapshot.nodes.keys()) this.states.set(id, 'ready');
    const nodes = [...this.snapshot.nodes].map(
      ([id, { value, modRevision }]) =>
        [id, { value: { ...value, availability: 'active' as const }, modRevision }] as const,
    );
    this.snapshot = { ...this.snapshot, nodes: new Map(nodes) };
    for (let round = 0; round < rounds; round += 1) {
      const { changes, wakeAtMs } = this.pass('all');
      const obeyed = this.obey();
      if (changes.length === 0 && !obeyed && wakeAtMs === undefined) return round;
      this.wall = Math.max(this.wall + 1, changes.length === 0 && !obeyed ? (wakeAtMs ?? 0) : 0);
    }
    return rounds;
  }

  private obey(): boolean {
    let moved = false;
    for (const { value: task } of this.snapshot.tasks.values()) {
      const state = taskState(task, this.snapshot.statuses.get(task.id));
      if (task.nodeId === undefined || isEnded(state)) continue;
      if (task.desired === 'running' && state === 'running') continue;
      this.report(task.id, task.desired === 'running' ? 'running' : 'shutdown');
      moved = true;
    }
    return moved;
  }

  private changeNode(index: number, change: Partial<Node>): void {
    const id = this.nodeId(index);
    const stored = this.snapshot.nodes.get(id);
    if (stored === undefined) return;
    const value = { ...stored.value, ...change };
    const nodes = new Map([...this.snapshot.nodes, [id, { value, modRevision: stored.modRevision + 1 }]]);
    this.snapshot = { ...this.snapshot, nodes };
  }

  private nodeId(index: number): string {
    return `id-n${String((index % this.snapshot.nodes.size) + 1)}`;
  }
}
