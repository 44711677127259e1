import { describe, expect, it } from 'vitest';
import { createObserver } from '../../../controller/events/observer.ts';
import type { Observer } from '../../../controller/events/observer.ts';
import { maxEventTextLength } from '../../../proto/domain/event.ts';
import type { NewEvent } from '../../../proto/domain/event.ts';
import type { NodeLiveness } from '../../../proto/domain/node.ts';
import { aNode, aService, aStack, aStatus, aTask } from '../../builders/domain.ts';

/** `kind: message (cause)` */
const text = ({ kind, message, cause }: NewEvent): string =>
  `${kind}: ${message}${cause === undefined ? '' : ` (${cause})`}`;

function withNode(): Observer {
  const observer = createObserver();
  observer.observe({ kind: 'node', id: 'id-n1', value: aNode('n1') }, 1);
  return observer;
}

describe('a task in its slot', () => {
  it('is told from its place to its end, and its successor says why it follows', () => {
    const observer = withNode();
    const first = aTask({ id: 'a', nodeId: 'id-n1' });
    const told = [
      ...observer.observe({ kind: 'task', id: 'a', value: first }, 2),
      ...observer.observe({ kind: 'status', id: 'a', value: aStatus('a', 'assigned') }, 3),
      ...observer.observe({ kind: 'status', id: 'a', value: aStatus('a', 'running', { address: '10.64.1.2' }) }, 4),
      ...observer.observe(
        { kind: 'status', id: 'a', value: aStatus('a', 'failed', { exitCode: 3, reason: 'exited with code 3' }) },
        5,
      ),
      ...observer.observe({ kind: 'task', id: 'a', value: { ...first, desired: 'shutdown', desiredReason: 'x' } }, 6),
      ...observer.observe({ kind: 'task', id: 'b', value: aTask({ id: 'b', attempt: 1, nodeId: 'id-n1' }) }, 7),
    ];
    expect(told.map(text)).toEqual([
      'task.assigned: placed on n1',
      'task.running: runs at 10.64.1.2',
      'task.failed: failed (exit code 3) (exited with code 3)',
      'task.assigned: placed on n1 (follows a: exited with code 3)',
    ]);
    expect(told[0]).toMatchObject({ stack: 'shop', service: 'web', slot: 1, taskId: 'a', node: 'n1', revision: 2 });
  });

  it('is adopted where its node made it by itself', () => {
    const observer = withNode();
    const first = aTask({ id: 'a', nodeId: 'id-n1' });
    observer.observe({ kind: 'task', id: 'a', value: first }, 2);
    const own = aTask({ id: 'b', attempt: 1, nodeId: 'id-n1', byNode: true });
    expect(observer.observe({ kind: 'task', id: 'b', value: own }, 3).map(text)).toEqual([
      'task.adopted: made by n1 itself, while it was cut off from the controllers (follows a)',
    ]);
  });

  it('is given up with its node, and its successor names the node', () => {
    const observer = withNode();
    const first = aTask({ id: 'a', nodeId: 'id-n1' });
    observer.observe({ kind: 'task', id: 'a', value: first }, 2);
    const lost = { ...first, orphaned: true, desired: 'shutdown' as const, desiredReason: 'node n1 was lost' };
    expect(observer.observe({ kind: 'task', id: 'a', value: lost }, 3).map(text)).toEqual([
      'task.orphaned: given up with its node (node n1 was lost)',
    ]);
    const next = aTask({ id: 'b', attempt: 1, nodeId: 'id-n2' });
    expect(observer.observe({ kind: 'task', id: 'b', value: next }, 4).map(text)).toEqual([
      'task.assigned: placed on id-n2 (follows a: node n1 was lost)',
    ]);
  });

  it('waits for a node, and is placed later', () => {
    const observer = withNode();
    expect(observer.observe({ kind: 'task', id: 'a', value: aTask({ id: 'a' }) }, 2).map(text)).toEqual([
      'task.pending: waits for a node',
    ]);
    expect(
      observer.observe({ kind: 'task', id: 'a', value: aTask({ id: 'a', nodeId: 'id-n1' }) }, 3).map(text),
    ).toEqual(['task.assigned: placed on n1']);
  });

  it('tells a change of health once', () => {
    const observer = withNode();
    observer.observe({ kind: 'task', id: 'a', value: aTask({ id: 'a', nodeId: 'id-n1' }) }, 2);
    const health = (value: 'healthy' | 'unhealthy') =>
      observer
        .observe({ kind: 'status', id: 'a', value: aStatus('a', 'running', { health: value, reason: 'why' }) }, 3)
        .map(text);
    expect(health('healthy')).toEqual(['task.running: runs']);
    expect(health('unhealthy')).toEqual(['task.unhealthy: is unhealthy (why)']);
    expect(health('unhealthy')).toEqual([]);
  });
});

describe('stacks, updates and nodes', () => {
  it('say who declared what, once a version', () => {
    const observer = createObserver();
    const [event] = observer.observe({ kind: 'stack', id: 'shop', value: aStack() }, 1);
    expect(event).toMatchObject({ kind: 'stack.applied', by: 'ana', message: 'version 1 was declared' });
    expect(observer.observe({ kind: 'stack', id: 'shop', value: aStack() }, 2)).toEqual([]);
    expect(observer.observe({ kind: 'stack', id: 'shop', value: undefined }, 3).map(text)).toEqual([
      'stack.removed: the stack was removed',
    ]);
  });

  it('follow an update from state to state', () => {
    const observer = createObserver();
    const base = aService();
    expect(observer.observe({ kind: 'service', id: 'shop/web', value: base }, 1)).toEqual([]);
    const rollout = { version: 2, state: 'updating', templateHash: 'h', startedAtMs: 0, failures: 0 } as const;
    const seen = (value: object) =>
      observer
        .observe(
          {
            kind: 'service',
            id: 'shop/web',
            value: { ...base, rollout: { ...base.rollout, ...rollout, ...value } } as never,
          },
          2,
        )
        .map(text);
    expect(seen({})).toEqual(['rollout.updating: update to version 2: updating']);
    expect(seen({ failures: 1 })).toEqual([]);
    expect(seen({ state: 'paused', reason: '1 of 2 failed' })).toEqual([
      'rollout.paused: update to version 2: paused (1 of 2 failed)',
    ]);
  });

  it('tell drains and labels', () => {
    const observer = withNode();
    const seen = (over: object) =>
      observer.observe({ kind: 'node', id: 'id-n1', value: aNode('n1', over) }, 2).map(text);
    expect(seen({ availability: 'drain' })).toEqual(['node.drain: set to drain']);
    expect(seen({ availability: 'drain', labels: { zone: 'a' } })).toEqual(['node.labelled: labels: zone=a']);
    expect(seen({ availability: 'drain', labels: { zone: 'a' } })).toEqual([]);
  });

  it('tell losses and returns, and no moment of silence', () => {
    const observer = withNode();
    const say = (state: NodeLiveness['state'], reason?: string) =>
      observer
        .observeLiveness(new Map([['id-n1', { state, sinceMs: 0, ...(reason !== undefined && { reason }) }]]))
        .map(text);
    expect(say('ready')).toEqual([]);
    expect(say('suspect')).toEqual([]);
    expect(say('ready')).toEqual([]);
    expect(say('down', 'no answer')).toEqual(['node.down: is down (no answer)']);
    expect(say('ready')).toEqual(['node.ready: is ready']);
  });

  it('keep texts short', () => {
    const observer = withNode();
    const value = aStatus('a', 'failed', { reason: 'x'.repeat(10_000) });
    expect(observer.observe({ kind: 'status', id: 'a', value }, 2)[0]?.cause).toHaveLength(maxEventTextLength);
  });
});
