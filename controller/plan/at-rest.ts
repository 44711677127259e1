/**
 * Services of which nothing changes in this pass, told by one quick look: as many tasks as are wanted, each running and well, of
 * the declared template, on a node that is not given up. The stages pass them over, so that a pass costs about what
 * moves. Whoever is not sure is not at rest: the stages themselves decide, and a property test holds that they agree.
 */
import type { Node, NodeFacts } from '../../proto/domain/node.ts';
import type { Service } from '../../proto/domain/service.ts';
import { isEnded, taskState } from '../../proto/domain/task.ts';
import type { Task } from '../../proto/domain/task.ts';
import { checkOf } from '../schedule/attributes.ts';
import type { ConstraintCheck } from '../schedule/attributes.ts';
import type { Declaration } from './declaration.ts';
import { namedVolumes } from './named-volumes.ts';
import { endedTasksKeptPerSlot } from './slot-history.ts';
import type { PlanInput, Snapshot, Stored } from './snapshot.ts';

export type RestCheck = (
  declared: Declaration | undefined,
  record: Service | undefined,
  tasks: readonly Stored<Task>[],
) => boolean;

/** A node that keeps what it has, and what constraints may ask of it. */
interface Keeper {
  readonly node: Node;
  readonly facts: NodeFacts | undefined;
}

export function openRestCheck(snapshot: Snapshot, input: PlanInput): RestCheck {
  const keepers = keepersOf(snapshot, input);
  return (declared, record, tasks) => {
    if (declared === undefined || record === undefined || !canRest(declared, record)) return false;
    const { spec, templateHash } = declared;
    if (tasks.length < spec.replicas) return false;
    const unmet = spec.placement.constraints.length === 0 ? undefined : checkOf(spec.placement.constraints);
    const slots = new SlotCount(spec.replicas);
    for (const { value: task } of tasks) {
      if (task.desired !== 'running') {
        if (!isHistory(snapshot, task) || !slots.addHistory(task.slot)) return false;
        continue;
      }
      if (task.templateHash !== templateHash || !runsWell(snapshot, task) || !slots.addHolder(task.slot)) return false;
      const keeper = keepers.get(task.nodeId ?? '');
      if (keeper === undefined || !staysOn(keeper, unmet)) return false;
    }
    return slots.areAllHeld();
  };
}

function keepersOf({ nodes, facts }: Snapshot, { liveness }: PlanInput): ReadonlyMap<string, Keeper> {
  const keepers = new Map<string, Keeper>();
  for (const [id, { value: node }] of nodes) {
    if (node.availability === 'drain' || liveness.get(id)?.state === 'down') continue;
    keepers.set(id, { node, facts: facts.get(id) });
  }
  return keepers;
}

/** A service whose slots are nodes or belong to nodes, or that is between two templates, is always looked at. */
function canRest({ spec }: Declaration, { released, pins, rollout }: Service): boolean {
  if (spec.mode !== 'replicated' || !released || pins.length > 0) return false;
  if (namedVolumes(spec.template).length > 0) return false;
  return rollout === undefined || rollout.state === 'completed';
}

function runsWell({ statuses }: Snapshot, task: Task): boolean {
  const status = statuses.get(task.id);
  if (status?.state !== 'running' || task.orphaned === true) return false;
  return status.health === 'none' || status.health === 'healthy';
}

/** It has ended, and was on a node: such a task stays as it is until its slot has too many of them. */
function isHistory({ statuses }: Snapshot, task: Task): boolean {
  return task.nodeId !== undefined && isEnded(taskState(task, statuses.get(task.id)));
}

const staysOn = ({ node, facts }: Keeper, unmet: ConstraintCheck | undefined): boolean =>
  unmet === undefined || node.availability === 'pause' || unmet(node, facts) === undefined;

/** Who is in each of the slots 1 to `replicas`. */
class SlotCount {
  readonly #holders: Uint8Array;
  readonly #history: Uint8Array;
  #free: number;

  constructor(replicas: number) {
    this.#holders = new Uint8Array(replicas + 1);
    this.#history = new Uint8Array(replicas + 1);
    this.#free = replicas;
  }

  /** False: the slot is not wanted, or is held already. */
  addHolder(slot: number): boolean {
    if (slot < 1 || this.#holders[slot] !== 0) return false;
    this.#holders[slot] = 1;
    this.#free -= 1;
    return true;
  }

  /** False: the slot is not wanted, or has more history than is kept. */
  addHistory(slot: number): boolean {
    const before = this.#history[slot];
    if (slot < 1 || before === undefined || before >= endedTasksKeptPerSlot) return false;
    this.#history[slot] = before + 1;
    return true;
  }

  areAllHeld(): boolean {
    return this.#free === 0;
  }
}
