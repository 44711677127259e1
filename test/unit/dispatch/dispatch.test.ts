import { describe, expect, it, vi } from 'vitest';
import { createDispatch } from '../../../controller/dispatch/dispatch.ts';
import type { DispatchPorts } from '../../../controller/dispatch/dispatch.ts';
import type { Snapshot } from '../../../controller/plan/snapshot.ts';
import type { AgentMessage, ControllerMessage } from '../../../proto/codec/dispatch.ts';
import { createOutbox } from '../../fakes/outbox.ts';
import type { ResolvedImage } from '../../../proto/domain/service.ts';
import { aDispatch } from '../../builders/dispatch.ts';
import { aFacts, aNode, aSnapshot, aStack, aTask } from '../../builders/domain.ts';

const hello = (held: { key: string; revision: string }[] = []): AgentMessage => ({
  kind: 'hello',
  facts: aFacts('id-n1'),
  bootId: new Uint8Array(16),
  held,
});

function world(first: Snapshot, over: Partial<DispatchPorts> = {}) {
  let spareImages: ReadonlyMap<string, readonly ResolvedImage[]> = new Map();
  let snapshot = first;
  const stored: string[] = [];
  const ports = aDispatch({
    snapshot: () => snapshot,
    spareImages: () => spareImages,
    storeStatuses: (statuses) => Promise.resolve(void stored.push(...statuses.map((status) => status.taskId))),
    ...over,
  });
  const dispatch = createDispatch(ports);
  return {
    stored,
    dispatch,
    become: (next: Snapshot, spares: readonly ResolvedImage[] = []) => {
      snapshot = next;
      spareImages = spares.length === 0 ? new Map() : new Map([['id-n1', spares]]);
      dispatch.changed();
    },
    connect: (held?: { key: string; revision: string }[]) => {
      const abort = new AbortController();
      const incoming = createOutbox<AgentMessage>(100, abort.signal);
      incoming.push(hello(held));
      const received: ControllerMessage[] = [];
      const done = (async () => {
        for await (const message of dispatch.serve('id-n1', incoming, abort.signal)) received.push(message);
      })();
      return { incoming, received, done, abort };
    },
  };
}

const base = () => aSnapshot({ nodes: [aNode('n1')] });
const withTask = () => aSnapshot({ nodes: [aNode('n1')], tasks: [aTask({ nodeId: 'id-n1' })] });

describe('dispatch', () => {
  it('sends what the node lacks, says synced, then only what changes', async () => {
    const { become, connect } = world(base());
    const session = connect();
    await vi.waitFor(() => {
      expect(session.received.map((message) => message.kind)).toEqual([
        'welcome',
        'liveness',
        'unit',
        'unit',
        'synced',
      ]);
    });
    become(withTask());
    await vi.waitFor(() => {
      expect(session.received).toHaveLength(6);
    });
    expect(session.received[5]).toMatchObject({ kind: 'unit', key: 'tasks' });
    become(withTask());
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(session.received).toHaveLength(6);
    session.abort.abort();
    await session.done;
  });

  it('sends nothing that is held already, also from another controller, and removes what is held in vain', async () => {
    const first = world(withTask()).connect();
    await vi.waitFor(() => {
      expect(first.received.at(-1)?.kind).toBe('synced');
    });
    const held = first.received.flatMap((message) => message.kind === 'unit' ? [{ key: message.key, revision: message.unit.revision }] : []); // prettier-ignore
    const second = world(withTask()).connect([...held, { key: 'service:old/one', revision: 'x' }]);
    await vi.waitFor(() => {
      expect(second.received.map((message) => message.kind)).toEqual(['welcome', 'liveness', 'removed', 'synced']);
    });
    for (const session of [first, second]) session.abort.abort();
    await Promise.all([first.done, second.done]);
  });

  it('sends the images to have ahead of need after the tasks, when they change, and takes them back', async () => {
    const { become, connect } = world(base());
    const session = connect();
    const { image } = aTask().template;
    await vi.waitFor(() => {
      expect(session.received.at(-1)?.kind).toBe('synced');
    });
    session.received.length = 0;
    become(withTask(), [image]);
    await vi.waitFor(() => {
      expect(session.received.map((message) => 'key' in message && message.key)).toEqual(['tasks', 'images']);
    });
    expect(session.received[1]).toMatchObject({ unit: { unit: { kind: 'images', images: [image] } } });
    become(withTask());
    await vi.waitFor(() => {
      expect(session.received[2]).toEqual({ kind: 'removed', key: 'images' });
    });
    session.abort.abort();
    await session.done;
  });

  it('acknowledges reports after they are stored', async () => {
    const { stored, connect } = world(withTask());
    const session = connect();
    session.incoming.push({
      kind: 'statuses',
      sequence: 7,
      reports: [{ taskId: aTask().id, state: 'running', health: 'none', sinceAgoMs: 0 }],
    });
    await vi.waitFor(() => {
      expect(session.received.at(-1)).toEqual({ kind: 'ack', sequence: 7, unwanted: [] });
    });
    expect(stored).toEqual([aTask().id]);
    session.abort.abort();
    await session.done;
  });

  it('adopts what a node made by itself before it takes in how the task before it ended, and says what it refuses', async () => {
    const snapshot = aSnapshot({
      nodes: [aNode('n1')],
      stacks: [aStack()],
      tasks: [aTask({ id: 'taskbefore01', nodeId: 'id-n1' })],
    });
    const order: string[] = [];
    const { connect } = world(snapshot, {
      adopt: (adoptions) => {
        order.push(...adoptions.map(({ task }) => `adopt ${task.id}`));
        return Promise.resolve(adoptions.map(() => true));
      },
      storeStatuses: (statuses) => Promise.resolve(void order.push(...statuses.map(({ taskId }) => `store ${taskId}`))),
    });
    const session = connect();
    const counts = { createdAgoMs: 0, attempt: 1, quickFailures: 0, restarts: 1, restartedAgoMs: [] };
    const runs = { state: 'running' as const, health: 'none' as const, sinceAgoMs: 0 };
    session.incoming.push({
      kind: 'statuses',
      sequence: 1,
      reports: [
        { taskId: 'taskbefore01', ...runs, state: 'failed' },
        { taskId: 'taskmade0001', ...runs, local: { replaces: ['taskbefore01'], ...counts } },
        { taskId: 'taskmade0002', ...runs, local: { replaces: ['tasknobody01'], ...counts } },
      ],
    });
    await vi.waitFor(() => {
      expect(session.received.at(-1)).toEqual({ kind: 'ack', sequence: 1, unwanted: ['taskmade0002'] });
    });
    expect(order).toEqual(['adopt taskmade0001', 'store taskbefore01']);
    session.abort.abort();
    await session.done;
  });

  it('ends an earlier session of the same node, and refuses nodes that are not of the cluster', async () => {
    const { connect, dispatch } = world(base());
    const first = connect();
    await vi.waitFor(() => {
      expect(first.received.at(-1)?.kind).toBe('synced');
    });
    const second = connect();
    await first.done;
    const stranger = dispatch.serve('x', createOutbox<AgentMessage>(1, second.abort.signal), second.abort.signal);
    await expect(stranger[Symbol.asyncIterator]().next()).rejects.toThrow(/no longer part of the cluster/);
    second.abort.abort();
    await second.done;
  });
});
