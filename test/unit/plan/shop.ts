/**
 * `shop/web` on nodes that do as they are told, under a clock of its own: what a plan makes of a change, pass by pass.
 * Every pass is checked to be followed by none, and every slot to be wanted as often as an update may.
 */
import { expect } from 'vitest';
import { plan } from '../../../controller/plan/plan.ts';
import type { Plan, Snapshot } from '../../../controller/plan/snapshot.ts';
import { monoMs, wallMs } from '../../../proto/base/clock.ts';
import type { Availability, NodeState } from '../../../proto/domain/node.ts';
import type { Service, ServiceSpec, Stack, TaskTemplate } from '../../../proto/domain/service.ts';
import { isEnded, taskState, taskStateRank } from '../../../proto/domain/task.ts';
import type { Health, Task, TaskState } from '../../../proto/domain/task.ts';
import { commitChanges } from '../../builders/commit.ts';
import {
  aLiveness,
  aNode,
  aServiceSpec,
  aSnapshot,
  aStack,
  aTemplate,
  sha256,
  startMs,
} from '../../builders/domain.ts';

/** What a task's agent makes of it; undefined: it runs, or stops when it is told to. */
export type Conduct = (task: Task, wall: number) => TaskState | 'unhealthy' | undefined;

export const imageOf = (tag: string): TaskTemplate =>
  aTemplate({ image: { reference: `registry.test/web:${tag}`, digest: `sha256:${sha256(tag)}` } });
export const tagOf = ({ template }: Task): string => template.image.reference.split(':')[1] ?? '';

/** Passes until nothing happens any more; more than this is a plan that never comes to rest. */
const maxRounds = 400;

export class Shop {
  snapshot: Snapshot;
  wall = startMs;
  conduct: Conduct = () => undefined;
  /** Fewest and most tasks of the service that ran well at any time since `watch`. */
  seen = { least: Infinity, most: 0 };
  readonly states = new Map<string, NodeState>();
  #ids = 0;

  constructor(spec: Partial<ServiceSpec> = {}, nodes = 3) {
    const names = Array.from({ length: nodes }, (_, index) => `n${String(index + 1)}`);
    const first = aServiceSpec({ template: imageOf('1'), replicas: 3, ...spec });
    this.snapshot = aSnapshot({ stacks: [aStack('shop', [first])], nodes: names.map((name) => aNode(name)) });
    this.rest();
  }

  get spec(): ServiceSpec {
    const [spec] = this.#stack().spec.services;
    expect(spec).toBeDefined();
    return spec as ServiceSpec;
  }

  get service(): Service | undefined {
    return this.snapshot.services.get('shop/web')?.value;
  }

  get rollout(): Service['rollout'] {
    return this.service?.rollout;
  }

  get tasks(): readonly Task[] {
    return [...this.snapshot.tasks.values()]
      .map(({ value }) => value)
      .sort((a, b) => a.slot - b.slot || a.attempt - b.attempt);
  }

  /** Tags of what runs well and is wanted, by slot. */
  get running(): readonly string[] {
    return this.tasks.filter((task) => task.desired === 'running' && this.runs(task)).map(tagOf);
  }

  /** What a person declares; `scale` and `restart` do not declare everything anew. */
  declare(over: Partial<ServiceSpec>, kind: 'apply' | 'scale' = 'apply'): this {
    const stack = this.#stack();
    const version = stack.version + 1;
    const value: Stack = {
      ...stack,
      spec: { ...stack.spec, services: [{ ...this.spec, ...over }] },
      version,
      ...(kind === 'apply' ? { declaredVersion: version } : {}),
    };
    const stacks = new Map([['shop', { value, modRevision: this.snapshot.revision + 1 }]]);
    this.snapshot = { ...this.snapshot, stacks, revision: this.snapshot.revision + 1 };
    return this;
  }

  availability(name: string, availability: Availability): this {
    const stored = this.snapshot.nodes.get(`id-${name}`);
    expect(stored).toBeDefined();
    const value = { ...aNode(name), availability };
    const nodes = new Map([...this.snapshot.nodes, [value.id, { value, modRevision: (stored?.modRevision ?? 0) + 1 }]]);
    this.snapshot = { ...this.snapshot, nodes };
    return this;
  }

  /** Forgets what was seen. */
  watch(): this {
    this.seen = { least: Infinity, most: 0 };
    this.#look();
    return this;
  }

  pass(): Plan {
    const input = {
      now: { monoMs: monoMs(this.wall - startMs), wallMs: wallMs(this.wall) },
      newId: () => `task-${String((this.#ids += 1))}`,
      liveness: aLiveness(this.snapshot, Object.fromEntries(this.states)),
      hash: sha256,
    };
    const result = plan(this.snapshot, input);
    const { snapshot, conflicts } = commitChanges(this.snapshot, result.changes);
    expect(conflicts).toBe(0);
    expect(plan(snapshot, input).changes).toEqual([]);
    this.snapshot = snapshot;
    return result;
  }

  /** Every agent does one step. @returns whether anything moved. */
  agents(): boolean {
    let moved = false;
    for (const task of this.tasks) {
      const state = this.stateOf(task);
      if (task.nodeId === undefined || task.orphaned === true || isEnded(state)) continue;
      const asked = task.desired === 'running' ? (this.conduct(task, this.wall) ?? 'running') : 'shutdown';
      if (asked === 'unhealthy') moved = this.report(task, state === 'running' ? state : 'starting', asked) || moved;
      else moved = this.report(task, asked, 'none') || moved;
    }
    this.#look();
    return moved;
  }

  /** Passes, agents and time, until nothing moves and nothing is due, or `untilMs` after now. */
  rest(untilMs = Infinity): this {
    const end = this.wall + untilMs;
    for (let round = 0; round < maxRounds; round += 1) {
      const { changes, wakeAtMs } = this.pass();
      const moved = this.agents();
      if (changes.length > 0 || moved) continue;
      if (wakeAtMs === undefined || wakeAtMs > end) {
        if (untilMs !== Infinity) this.wall = end;
        return this;
      }
      this.wall = Math.max(this.wall, wakeAtMs);
    }
    throw new Error(`the plan does not come to rest: ${JSON.stringify(this.rollout)}`);
  }

  report(task: Task, state: TaskState, health: Health = 'none'): boolean {
    const known = this.snapshot.statuses.get(task.id);
    const step = taskStateRank(state) - taskStateRank(known?.state ?? 'assigned');
    if (known !== undefined && (isEnded(known.state) || step < 0 || (step === 0 && known.health === health)))
      return false;
    const ranAtMs = known?.ranAtMs ?? (state === 'running' ? this.wall : undefined);
    const startedAtMs = known?.startedAtMs ?? (state === 'rejected' ? undefined : this.wall);
    const status = {
      taskId: task.id,
      state,
      health,
      sinceMs: known?.state === state ? known.sinceMs : this.wall,
      ...(startedAtMs === undefined ? {} : { startedAtMs }),
      ...(ranAtMs === undefined ? {} : { ranAtMs }),
      ...(isEnded(state) ? { finishedAtMs: this.wall } : {}),
      ...(state === 'failed' ? { exitCode: 1, reason: 'boom' } : {}),
    };
    this.snapshot = { ...this.snapshot, statuses: new Map([...this.snapshot.statuses, [task.id, status]]) };
    return true;
  }

  stateOf(task: Task): TaskState {
    return taskState(task, this.snapshot.statuses.get(task.id));
  }

  runs(task: Task): boolean {
    const health = this.snapshot.statuses.get(task.id)?.health;
    return this.stateOf(task) === 'running' && (health === 'none' || health === 'healthy');
  }

  #stack(): Stack {
    const stack = this.snapshot.stacks.get('shop')?.value;
    expect(stack).toBeDefined();
    return stack as Stack;
  }

  #look(): void {
    const running = this.tasks.filter((task) => task.desired === 'running' && this.runs(task)).length;
    this.seen = { least: Math.min(this.seen.least, running), most: Math.max(this.seen.most, running) };
  }
}
