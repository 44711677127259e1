/** From changes of records to events. Keeps of each record only what the next change is compared with. */
import type { Node, NodeLiveness } from '../../proto/domain/node.ts';
import { maxEventTextLength } from '../../proto/domain/event.ts';
import type { NewEvent } from '../../proto/domain/event.ts';
import type { Service, Stack } from '../../proto/domain/service.ts';
import { isEnded, slotId, taskStateRank } from '../../proto/domain/task.ts';
import type { Task, TaskStatus } from '../../proto/domain/task.ts';

/** A record as it is now, or that it is gone. */
export type RecordChange =
  | { readonly kind: 'stack'; readonly id: string; readonly value: Stack | undefined }
  | { readonly kind: 'service'; readonly id: string; readonly value: Service | undefined }
  | { readonly kind: 'task'; readonly id: string; readonly value: Task | undefined }
  | { readonly kind: 'status'; readonly id: string; readonly value: TaskStatus | undefined }
  | { readonly kind: 'node'; readonly id: string; readonly value: Node | undefined };

export interface Observer {
  /** What the change means, compared with what was seen before of the same record. */
  observe(change: RecordChange, revision: number): readonly NewEvent[];
  /** Nodes whose state differs from what was said of them before. The first call of a node that is well says nothing. */
  observeLiveness(states: ReadonlyMap<string, NodeLiveness>): readonly NewEvent[];
}

type Draft = Omit<NewEvent, 'revision'>;

export function createObserver(): Observer {
  return new RecordObserver();
}

class RecordObserver implements Observer {
  readonly #stacks = new Map<string, Stack>();
  readonly #rollouts = new Map<string, string>();
  readonly #tasks = new Map<string, Task>();
  readonly #statuses = new Map<string, TaskStatus>();
  readonly #nodes = new Map<string, Node>();
  readonly #liveness = new Map<string, NodeLiveness['state']>();
  /** By slot: the task that came last. */
  readonly #latest = new Map<string, string>();

  observe(change: RecordChange, revision: number): readonly NewEvent[] {
    return this.#drafts(change).map((draft) => ({ ...shortened(draft), revision }));
  }

  observeLiveness(states: ReadonlyMap<string, NodeLiveness>): readonly NewEvent[] {
    return [...states].flatMap(([id, { state, reason }]): NewEvent[] => {
      const before = this.#liveness.get(id);
      // A moment of silence that ended is no event, nor that a node is well when nobody said otherwise.
      if (state === before || state === 'suspect') return [];
      this.#liveness.set(id, state);
      if (state === 'ready' && before === undefined) return [];
      const node = this.#nodeName(id) ?? id;
      return [
        { ...shortened({ kind: `node.${state}`, node, message: `is ${state}`, ...because(reason) }), revision: 0 },
      ];
    });
  }

  #drafts(change: RecordChange): readonly Draft[] {
    switch (change.kind) {
      case 'stack':
        return this.#stackEvents(change.id, change.value);
      case 'service':
        return this.#serviceEvents(change.id, change.value);
      case 'task':
        return this.#taskEvents(change.id, change.value);
      case 'status':
        return this.#statusEvents(change.id, change.value);
      case 'node':
        return this.#nodeEvents(change.id, change.value);
    }
  }

  #stackEvents(id: string, stack: Stack | undefined): readonly Draft[] {
    const before = this.#stacks.get(id);
    if (stack === undefined) {
      this.#stacks.delete(id);
      return [{ kind: 'stack.removed', stack: id, message: 'the stack was removed' }];
    }
    this.#stacks.set(id, stack);
    if (before?.version === stack.version) return [];
    const message = `version ${String(stack.version)} was declared`;
    return [{ kind: 'stack.applied', stack: id, by: stack.appliedBy, message }];
  }

  #serviceEvents(id: string, service: Service | undefined): readonly Draft[] {
    const { rollout } = service ?? {};
    const now = rollout === undefined ? undefined : `${String(rollout.version)} ${rollout.state}`;
    const before = this.#rollouts.get(id);
    if (now === undefined) this.#rollouts.delete(id);
    else this.#rollouts.set(id, now);
    if (service === undefined || rollout === undefined || now === before) return [];
    const message = `update to version ${String(rollout.version)}: ${rollout.state}`;
    const { stack, name } = service;
    return [{ kind: `rollout.${rollout.state}`, stack, service: name, message, ...because(rollout.reason) }];
  }

  #taskEvents(id: string, task: Task | undefined): readonly Draft[] {
    const before = this.#tasks.get(id);
    if (task === undefined) {
      this.#tasks.delete(id);
      if (before !== undefined && this.#latest.get(slotId(before)) === id) this.#latest.delete(slotId(before));
      return [];
    }
    const predecessor = this.#tasks.get(this.#latest.get(slotId(task)) ?? '');
    this.#tasks.set(id, task);
    if (before === undefined) this.#latest.set(slotId(task), id);
    const events: Draft[] = [];
    if (task.nodeId !== undefined && before?.nodeId === undefined && task.desired === 'running') {
      const node = this.#nodeName(task.nodeId) ?? '';
      const message =
        task.byNode === true
          ? `made by ${node} itself, while it was cut off from the controllers`
          : `placed on ${node}`;
      events.push({
        kind: task.byNode === true ? 'task.adopted' : 'task.assigned',
        ...this.#about(task),
        message,
        ...because(this.#whyFollowed(predecessor, id)),
      });
    }
    if (task.nodeId === undefined && before === undefined && task.desired === 'running') {
      events.push({
        kind: 'task.pending',
        ...this.#about(task),
        message: 'waits for a node',
        ...because(this.#whyFollowed(predecessor, id)),
      });
    }
    if (task.orphaned === true && before?.orphaned !== true) {
      events.push({
        kind: 'task.orphaned',
        ...this.#about(task),
        message: 'given up with its node',
        ...because(task.desiredReason),
      });
    } else if (
      task.desired !== 'running' &&
      (before === undefined || before.desired === 'running') &&
      !this.#hasEnded(id)
    ) {
      events.push({
        kind: 'task.stopping',
        ...this.#about(task),
        message: 'is to stop',
        ...because(task.desiredReason),
      });
    }
    return events;
  }

  /** How the slot's earlier task came to its end. */
  #whyFollowed(predecessor: Task | undefined, successor: string): string | undefined {
    if (predecessor === undefined || predecessor.id === successor) return undefined;
    const status = this.#statuses.get(predecessor.id);
    const ended =
      status !== undefined && isEnded(status.state) && status.state !== 'shutdown'
        ? (status.reason ?? status.state)
        : undefined;
    const why = ended ?? predecessor.desiredReason;
    return `follows ${predecessor.id}${why === undefined ? '' : `: ${why}`}`;
  }

  #statusEvents(id: string, status: TaskStatus | undefined): readonly Draft[] {
    const before = this.#statuses.get(id);
    if (status === undefined) {
      this.#statuses.delete(id);
      return [];
    }
    this.#statuses.set(id, status);
    const task = this.#tasks.get(id);
    const subject = task === undefined ? { taskId: id } : this.#about(task);
    // What lies before it runs is on its way, and shown by `ps`.
    if (taskStateRank(status.state) < taskStateRank('running')) return [];
    if (before?.state !== status.state) return [{ kind: `task.${status.state}`, ...subject, ...stateText(status) }];
    if (before.health === status.health) return [];
    return [{ kind: `task.${status.health}`, ...subject, message: `is ${status.health}`, ...because(status.reason) }];
  }

  #nodeEvents(id: string, node: Node | undefined): readonly Draft[] {
    const before = this.#nodes.get(id);
    if (node === undefined) {
      this.#nodes.delete(id);
      this.#liveness.delete(id);
      return before === undefined ? [] : [{ kind: 'node.left', node: before.name, message: 'left the cluster' }];
    }
    this.#nodes.set(id, node);
    if (before === undefined) return [{ kind: 'node.joined', node: node.name, message: `joined with ${node.subnet}` }];
    const events: Draft[] = [];
    if (before.availability !== node.availability) {
      events.push({ kind: `node.${node.availability}`, node: node.name, message: `set to ${node.availability}` });
    }
    if (labelsText(before) !== labelsText(node)) {
      events.push({ kind: 'node.labelled', node: node.name, message: `labels: ${labelsText(node)}` });
    }
    return events;
  }

  #nodeName(id: string | undefined): string | undefined {
    return id === undefined ? undefined : (this.#nodes.get(id)?.name ?? id);
  }

  #about(task: Task): Omit<Draft, 'kind' | 'message'> {
    const node = this.#nodeName(task.nodeId);
    const { stack, service, slot, id: taskId } = task;
    return { stack, service, slot, taskId, ...(node !== undefined && { node }) };
  }

  #hasEnded(taskId: string): boolean {
    const status = this.#statuses.get(taskId);
    return status !== undefined && isEnded(status.state);
  }
}

const because = (cause: string | undefined): { readonly cause?: string } => (cause === undefined ? {} : { cause });

const labelsText = (node: Node): string =>
  Object.entries(node.labels)
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(', ');

function stateText({ state, exitCode, reason, address }: TaskStatus): Pick<Draft, 'message' | 'cause'> {
  if (state === 'running') return { message: address === undefined ? 'runs' : `runs at ${address}` };
  if (state === 'complete') return { message: 'ended with exit code 0' };
  const code = exitCode === undefined ? '' : ` (exit code ${String(exitCode)})`;
  return { message: state === 'shutdown' ? `stopped${code}` : `${state}${code}`, ...because(reason) };
}

function shortened(draft: Draft): Draft {
  const cut = (text: string): string =>
    text.length <= maxEventTextLength ? text : `${text.slice(0, maxEventTextLength - 1)}…`;
  return { ...draft, message: cut(draft.message), ...(draft.cause !== undefined && { cause: cut(draft.cause) }) };
}
