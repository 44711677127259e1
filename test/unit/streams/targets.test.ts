/** What people name, as tasks: slots, services, stacks and beginnings of ids, and what is said where a name means several. */
import { describe, expect, it } from 'vitest';
import { matches, runningTask, targetOf } from '../../../controller/streams/targets.ts';
import type { Task } from '../../../proto/domain/task.ts';
import { aServiceSpec, aSnapshot, aStack, aStatus, aTask } from '../../builders/domain.ts';

const stacks = [
  aStack('shop', [aServiceSpec({ replicas: 2 }), aServiceSpec({ name: 'db' })]),
  aStack('blog', [aServiceSpec()]),
];
const tasks: readonly Task[] = [
  aTask({ id: 'abc111', slot: 1, nodeId: 'id-n1', desired: 'shutdown' }),
  aTask({ id: 'abc222', slot: 1, attempt: 1, nodeId: 'id-n2' }),
  aTask({ id: 'abd333', slot: 2, nodeId: 'id-n1' }),
  aTask({ id: 'eee444', service: 'db' }),
  aTask({ id: 'fff555', stack: 'blog', slot: 2, nodeId: 'id-n1' }),
];
const statuses = [aStatus('abc111', 'failed'), aStatus('abc222', 'running'), aStatus('abd333', 'starting'), aStatus('fff555', 'failed')]; // prettier-ignore
const snapshot = aSnapshot({ stacks, tasks, statuses });
const shop = { stack: 'shop', service: 'web' };

describe('a name', () => {
  it.each([
    ['shop', { kind: 'stack', stack: 'shop' }],
    ['shop/web', { kind: 'service', ...shop }],
    ['shop_web', { kind: 'service', ...shop }],
    ['db', { kind: 'service', stack: 'shop', service: 'db' }],
    ['web.1', { kind: 'slot', ...shop, slot: 1 }],
    ['shop/web.2', { kind: 'slot', ...shop, slot: 2 }],
    ['shop_web.2', { kind: 'slot', ...shop, slot: 2 }],
    ['abc222', { kind: 'task', id: 'abc222' }],
    ['abd', { kind: 'task', id: 'abd333' }],
  ])('%s is what it says', (written, target) => {
    expect(targetOf(snapshot, written)).toEqual(target);
  });

  it.each([
    ['web', 'invalid', 'more than one service'],
    ['web.2', 'invalid', 'in several stacks: shop/web.2, blog/web.2'],
    ['abc', 'invalid', 'begins the ids of 2 tasks'],
    ['ab', 'not-found', 'there is no service "ab"'],
    ['web.9', 'not-found', 'there is no service "web.9"'],
  ])('%s is %s', (written, code, message) => {
    expect(() => targetOf(snapshot, written)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) as string }),
    );
  });

  it('that is a whole id is that task, though others begin with it', () => {
    const longer = aSnapshot({ stacks, tasks: [...tasks, aTask({ id: 'abc222x', slot: 2 })], statuses });
    expect(targetOf(longer, 'abc222')).toEqual({ kind: 'task', id: 'abc222' });
  });
});

it('stands for all tasks that are meant, later ones too', () => {
  const idsOf = (written: string) =>
    tasks.filter((task) => matches(targetOf(snapshot, written), task)).map(({ id }) => id);
  expect(idsOf('shop')).toEqual(['abc111', 'abc222', 'abd333', 'eee444']);
  expect(idsOf('shop/web')).toEqual(['abc111', 'abc222', 'abd333']);
  expect(idsOf('web.1')).toEqual(['abc111', 'abc222']);
  expect(idsOf('abd333')).toEqual(['abd333']);
  const later = aTask({ id: 'new', slot: 1, attempt: 2 });
  expect([matches(targetOf(snapshot, 'web.1'), later), matches(targetOf(snapshot, 'abc222'), later)]).toEqual([true, false]); // prettier-ignore
});

describe('the task that a command is run in', () => {
  const found = (written: string) => runningTask(snapshot, targetOf(snapshot, written));

  it('is the one that runs, of the lowest slot, whatever ended there before', () => {
    expect(found('shop/web')).toMatchObject({ id: 'abc222', nodeId: 'id-n2' });
    expect(found('web.1').id).toBe('abc222');
    expect(found('shop/web.2').id).toBe('abd333');
  });

  it.each([
    ['abc111', 'task abc111 does not run: web.1 is failed'],
    ['blog/web', 'service blog/web does not run: web.2 is failed'],
    ['db', 'service shop/db does not run: db.1 is pending'],
  ])('of %s does not run, and why is said', (written, message) => {
    expect(() => found(written)).toThrow(expect.objectContaining({ code: 'conflict', message }));
  });

  it('is missing where a service has none', () => {
    const empty = aSnapshot({ stacks });
    expect(() => runningTask(empty, targetOf(empty, 'shop'))).toThrow('stack shop has no task');
  });
});
